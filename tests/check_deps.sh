# make deps-arm with stand-ins for dpkg and apt-get: an architecture is added only where it is missing,
# and taken back where its packages cannot be had.
. "$(dirname "$0")/support/sh_lib.sh"
here=$WORK/bin
mkdir "$here"

# Stand-ins: the machine's architecture, those it has beside it, whether installing succeeds.
cat >"$here/dpkg" <<'END'
#!/bin/sh
case $1 in
--print-architecture) cat "$STATE/architecture" ;;
--print-foreign-architectures) cat "$STATE/foreign" ;;
--add-architecture) echo "add $2" >>"$STATE/log"; echo "$2" >>"$STATE/foreign" ;;
--remove-architecture) echo "remove $2" >>"$STATE/log"; grep -vx "$2" "$STATE/foreign" >"$STATE/rest"
    mv "$STATE/rest" "$STATE/foreign" ;;
esac
END
cat >"$here/dpkg-query" <<'END'
#!/bin/sh
[ -e "$STATE/installed" ] && echo "install ok installed"
END
cat >"$here/apt-get" <<'END'
#!/bin/sh
for word; do case $word in update | install) echo "$word" >>"$STATE/log" ;; esac; done
case " $* " in *' install '*) [ -e "$STATE/has-arm64" ] ;; esac
END
printf '#!/bin/sh\nexec "$@"\n' >"$here/sudo"
chmod +x "$here"/*

# deps_arm NAME ARCHITECTURE FOREIGN FILES LOG: what is done on such a machine.
deps_arm() {
    export STATE=$WORK/$1
    mkdir "$STATE"
    echo "$2" >"$STATE/architecture"
    echo "$3" >"$STATE/foreign"
    touch "$STATE/log"
    for file in $4; do touch "$STATE/$file"; done
    expect 0 env PATH="$here:$PATH" make --no-print-directory -C "$ROOT" deps-arm
    is "$(paste -sd, "$STATE/log")" "$5" "$1"
}

deps_arm other-machine arm64 '' '' ''
printed "^skipped: deps-arm is for machines of Debian's amd64"
deps_arm all-there amd64 arm64 installed ''
silent stdout
deps_arm fresh amd64 i386 has-arm64 'add arm64,update,install'
printed '^installing: zlib1g-dev:arm64'
is "$(paste -sd, "$STATE/foreign")" i386,arm64
deps_arm known amd64 arm64 has-arm64 'update,install'
deps_arm no-such-mirror amd64 i386 '' 'add arm64,update,install,remove arm64,update'
printed '^skipped: apt-get cannot install'
is "$(cat "$STATE/foreign")" i386
deps_arm known-no-mirror amd64 arm64 '' 'update,install'
printed '^skipped: apt-get cannot install'
is "$(cat "$STATE/foreign")" arm64
finish
