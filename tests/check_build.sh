#!/usr/bin/env bash
# What has to hold of the sources and of what is built from them, whatever the code does:
#   - esrgan.h alone is strict C99 and C++
#   - files include only what their room may know (lib/ is laid out in rooms, see README)
#   - kernels take no memory, start no threads, do no input or output
#   - the shared library exports esrgan_ names and all that the header declares; the static one
#     defines none without a prefix of ours; the shared one has no variables of a thread's own
#   - make builds anew when flags are others, but not to install
# Each check is also made to fail once, on purpose.
set -u
BUILD=${BUILD:-build}
CC=${CC:-cc}
CXX=${CXX:-c++}
failures=0
fail() {
    echo "check_build: $*" >&2
    failures=$((failures + 1))
}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

# ---- The header alone ---------------------------------------------------------------------------

# header_compiles HEADER: as every dialect, by every compiler that is here.
header_compiles() {
    local header=$1 compiler dialect ok=0
    printf '#include "%s"\nint main(void) { return 0; }\n' "$header" >"$scratch/header.c"
    cp "$scratch/header.c" "$scratch/header.cc"
    for compiler in "$CC" gcc clang; do
        command -v "${compiler%% *}" >/dev/null || continue
        for dialect in c99 c11; do
            $compiler -std=$dialect -pedantic -Wall -Wextra -Wshadow -Wstrict-prototypes -Wundef \
                -Werror -fsyntax-only "$scratch/header.c" || ok=1
        done
    done
    for compiler in "$CXX" g++ clang++; do
        command -v "${compiler%% *}" >/dev/null || continue
        for dialect in c++11 c++17; do
            $compiler -std=$dialect -pedantic -Wall -Wextra -Werror -fsyntax-only \
                "$scratch/header.cc" || ok=1
        done
    done
    return $ok
}

header_compiles "$PWD/include/esrgan.h" || fail "esrgan.h does not compile alone"
sed 's/size_t size;/bool size;/' include/esrgan.h >"$scratch/broken.h"
header_compiles "$scratch/broken.h" 2>/dev/null && fail "a broken header was not noticed"

# ---- Include directions -------------------------------------------------------------------------

# room PATH: which room a source file stands in.
room() {
    case $1 in
    include/*) echo include ;;
    lib/*/*) local rest=${1#lib/}; echo "${rest%%/*}" ;;
    lib/*) echo lib ;;
    kernels/*) echo kernels ;;
    examples/*) echo examples ;;
    *) echo elsewhere ;;
    esac
}

# may ROOM PATH: whether files of a room may include that header.
may() {
    case $1:$2 in
    *:include/esrgan.h) [ "$1" != kernels ] ;;
    base:lib/base/*) ;;
    checkpoint:lib/base/* | checkpoint:lib/checkpoint/*) ;;
    network:lib/base/* | network:lib/checkpoint/checkpoint.h | network:lib/network/*) ;;
    engine:lib/base/* | engine:lib/network/network.h | engine:lib/engine/*) ;;
    engine:kernels/*/cpu.h) ;; # what the CPU can
    engine:kernels/*/*) false ;;
    engine:kernels/*) ;; # the contracts
    picture:lib/base/* | picture:lib/picture/* | picture:lib/session.h) ;;
    picture:kernels/kernels.h) ;;
    lib:lib/* | lib:kernels/*.h) ;;
    kernels:kernels/*) ;;
    examples:examples/*) ;;
    *) false ;;
    esac
}

# resolve FILE NAME: the header that an #include "NAME" in FILE means, from the root.
resolve() {
    local folder
    for folder in "$(dirname "$1")" lib kernels include; do
        if [ -f "$folder/$2" ]; then
            realpath -s --relative-to=. "$folder/$2"
            return
        fi
    done
    echo "missing/$2"
}

# includes_hold: one line for each #include that a room may not have; the root is the current folder.
includes_hold() {
    local file line name here target
    grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.[ch]' --include='*.cc' \
        --include='*.inc' lib kernels include examples 2>/dev/null |
        while IFS= read -r line; do
            file=${line%%:*}
            here=$(room "$file")
            case $line in
            *\"*)
                name=${line#*\"}
                name=${name%%\"*}
                target=$(resolve "$file" "$name")
                may "$here" "$target" || echo "$file ($here) includes $name"
                ;;
            *\<esrgan.h\>*) may "$here" include/esrgan.h || echo "$file ($here) includes esrgan.h" ;;
            *\<cblas.h\>*) case $file in kernels/openblas/*) ;; *) echo "$file uses OpenBLAS" ;; esac ;;
            *)
                case $here:$line in
                kernels:*\<std[ad]*.h\>* | kernels:*\<stdint.h\>* | kernels:*\<stdbool.h\>*) ;;
                kernels:*\<string.h\>* | kernels:*\<math.h\>* | kernels:*\<float.h\>*) ;;
                kernels:*\<limits.h\>*) ;;
                kernels:*intrin.h\>* | kernels:*\<cpuid.h\>* | kernels:*\<arm_*) ;;
                kernels:*\<sys/auxv.h\>* | kernels:*\<asm/hwcap.h\>*) ;;
                kernels:kernels/x86/cpu.c:*) ;; # asks the system for tile registers
                kernels:kernels/arm/cpu.c:*) ;;
                kernels:*) echo "$file (kernels) includes ${line#*include}" ;;
                include:*\<std*.h\>*) ;;
                include:*) echo "$file includes ${line#*include}" ;;
                esac
                ;;
            esac
        done
}

found=$(includes_hold)
[ -z "$found" ] || fail "include directions: $found"

# A house in which every room looks where it must not.
mkdir -p "$scratch/house" && (
    cd "$scratch/house" || exit 1
    mkdir -p include lib/base lib/checkpoint lib/network lib/engine lib/picture kernels/scalar \
        kernels/openblas examples/esrgan
    touch include/esrgan.h lib/base/status.h lib/checkpoint/checkpoint.h lib/checkpoint/pickle.h \
        lib/network/network.h lib/engine/engine.h lib/session.h kernels/kernels.h \
        kernels/scalar/secret.h examples/esrgan/own.h
    echo '#include "network/network.h"' >lib/base/a.c
    echo '#include "network/network.h"' >lib/checkpoint/a.c
    echo '#include "engine/engine.h"' >lib/network/a.c
    echo '#include "checkpoint/pickle.h"' >lib/network/b.c
    echo '#include "kernels.h"' >lib/network/c.c
    echo '#include "checkpoint/checkpoint.h"' >lib/engine/a.c
    echo '#include "session.h"' >lib/engine/b.c
    echo '#include "scalar/secret.h"' >lib/engine/c.c
    echo '#include <cblas.h>' >lib/engine/d.c
    echo '#include "engine/engine.h"' >lib/picture/a.c
    echo '#include "base/status.h"' >kernels/scalar/a.c
    echo '# include <pthread.h>' >kernels/scalar/b.c
    echo '#include <stdlib.h>' >kernels/scalar/c.c
    echo '#include "esrgan.h"' >kernels/scalar/d.c
    echo '#include "../../lib/base/status.h"' >examples/esrgan/a.c
    echo '#include "session.h"' >examples/esrgan/b.c
    echo '#include <cblas.h>' >examples/esrgan/c.c
    echo '#include <unistd.h>' >include/b.h
    # and these are fine
    echo '#include "base/status.h"' >lib/checkpoint/fine.c
    echo '#include "pickle.h"' >>lib/checkpoint/fine.c
    echo '#include <esrgan.h>' >examples/esrgan/fine.c
    echo '#include "own.h"' >>examples/esrgan/fine.c
    echo '#include <cblas.h>' >kernels/openblas/fine.c
    echo '#include <string.h>' >>kernels/openblas/fine.c
    echo '#include "engine/engine.h"' >lib/fine.c
)
noticed=$(cd "$scratch/house" && includes_hold | sort -u | wc -l)
[ "$noticed" = 18 ] || fail "of 18 wrong includes $noticed were noticed"

# Names that kernels have no use for.
kernel_calls() {
    grep -rnE '\b(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|mmap|printf|fprintf|fopen|abort|exit|pthread_[a-z_]+) *\(' \
        "$@" --include='*.[ch]' --include='*.inc'
}
found=$(kernel_calls kernels)
[ -z "$found" ] || fail "kernels call: $found"
echo 'void f(void) { free(0); }' >"$scratch/house/kernels/scalar/e.c"
kernel_calls "$scratch/house/kernels" >/dev/null || fail "free() in a kernel was not noticed"

# ---- Symbols ------------------------------------------------------------------------------------

# strangers PATTERN: names on stdin that do not match.
strangers() { grep -vE "$1" | sort -u | tr '\n' ' '; }

shared=$(ls "$BUILD"/libesrgan.so.*.*.* 2>/dev/null | head -n 1)
static=$BUILD/libesrgan.a
[ -n "$shared" ] && [ -f "$static" ] || fail "no libraries in $BUILD"
exported=$(nm -D --defined-only "$shared" | awk '{ print $3 }')
[ -n "$exported" ] || fail "$shared exports nothing"
found=$(echo "$exported" | strangers '^esrgan_')
[ -z "$found" ] || fail "exported: $found"
[ -n "$(echo leak | strangers '^esrgan_')" ] || fail "a strange symbol was not noticed"
found=$(nm --defined-only --extern-only "$static" | awk 'NF == 3 { print $3 }' |
    strangers '^(es_|esrgan_)')
[ -z "$found" ] || fail "global names without a prefix: $found"

declared=$(grep -oE '\besrgan_[a-z0-9_]+\(' include/esrgan.h | tr -d '(' | sort -u)
[ "$(echo "$declared" | wc -l)" -ge 25 ] || fail "only $(echo "$declared" | wc -l) functions found in esrgan.h"
for name in $declared; do
    echo "$exported" | grep -qx "$name" || fail "$name is declared and not exported"
done
for name in $exported; do
    echo "$declared" | grep -qx "$name" || fail "$name is exported and not declared"
done

major=$(sed -n 's/^#define ESRGAN_VERSION_MAJOR  *\([0-9][0-9]*\)$/\1/p' include/esrgan.h)
readelf -d "$shared" | grep -q "SONAME.*\[libesrgan.so.$major\]" || fail "the SONAME is not libesrgan.so.$major"

# A thread's first look at such a variable takes the loader's lock: a host that holds it while it waits, in a
# constructor or with a namespace of its own for the library (dlmopen), would wait for ever.
has_thread_locals() { readelf -lW "$1" | grep -qw TLS; }

has_thread_locals "$shared" && fail "$shared has variables of a thread's own"
echo 'static __thread int x; int f(void); int f(void) { return x++; }' >"$scratch/local.c"
$CC -shared -fPIC -o "$scratch/local.so" "$scratch/local.c"
has_thread_locals "$scratch/local.so" || fail "a variable of a thread's own was not noticed"

# ---- Flags --------------------------------------------------------------------------------------

# would_link GOAL: whether make, given flags that nothing was built with, would link the library anew.
would_link() { make -n BUILD="$BUILD" CFLAGS="-O2 -DNOTHING_WAS_BUILT_WITH_THIS" "$1" | grep -q " rcs $static"; }

would_link lib || fail "with other flags the library would stay as it is"
would_link install && fail "make install would not take what was built"

[ $failures = 0 ] || exit 1
echo "check_build: header, include directions, symbols, flags: fine"
