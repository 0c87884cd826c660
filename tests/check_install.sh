# make install puts everything where it belongs; C and C++ programs build against the installed
# copy, by pkg-config and by CMake, shared and static, and run.
. "$(dirname "$0")/support/sh_lib.sh"
if nm "$BUILD/libesrgan.a" 2>/dev/null | grep -q '__asan_\|__tsan_'; then
    echo "a library with sanitizers is not one to install"
    exit 77
fi
cd "$WORK" || exit 1
CC=${CC:-cc}
CXX=${CXX:-c++}
build=(make --no-print-directory -s -C "$ROOT" BUILD="$BUILD")

# DESTDIR is where files go, PREFIX what they say.
expect 0 "${build[@]}" install DESTDIR="$WORK/stage" PREFIX=/opt/esrgan
version=$("$ESRGAN" --version | cut -d' ' -f2)
(cd stage && find . -type f -o -type l) | LC_ALL=C sort >list
for f in bin/esrgan include/esrgan.h lib/libesrgan.a lib/libesrgan.so lib/libesrgan.so.0 lib/libesrgan.so.$version \
    lib/pkgconfig/esrgan.pc lib/cmake/esrgan/esrganConfig.cmake lib/cmake/esrgan/esrganConfigVersion.cmake \
    share/man/man1/esrgan.1 share/doc/esrgan/LICENSE share/doc/esrgan/README.md; do
    exists "stage/opt/esrgan/$f"
done
is "$(ls stage)" opt
checks=$((checks + 1))
grep -rqI "$WORK" stage && fail "an installed file knows of DESTDIR"
is "$(sed -n 's/^prefix=//p' stage/opt/esrgan/lib/pkgconfig/esrgan.pc)" /opt/esrgan
expect 1 grep -rE '@[A-Z_]+@' stage/opt/esrgan/lib/pkgconfig stage/opt/esrgan/lib/cmake stage/opt/esrgan/share/man
expect 0 "${build[@]}" uninstall DESTDIR="$WORK/stage" PREFIX=/opt/esrgan
is "$(find stage -type f -o -type l)" "" "left after make uninstall"

# A real prefix.
P=$WORK/prefix
expect 0 "${build[@]}" install PREFIX="$P"
expect 0 "$P/bin/esrgan" --version
printed "^esrgan $version\$"
is "$(readelf -d "$P/lib/libesrgan.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" libesrgan.so.0
checks=$((checks + 1))
nm -D --defined-only "$P/lib/libesrgan.so" | awk '{print $3}' | grep -v '^esrgan_' && fail "symbols without the prefix"
if [ -e "$ROOT/examples/models/esrgan-small-x4.pth" ]; then
    $PNG make a.png 9 8 RGB
    expect 0 env HOME="$WORK" "$P/bin/esrgan" upscale a.png -o b.png
    is "$($PNG size b.png)" "36x32 3 8"
    expect 0 "$P/bin/esrgan" info --json
    is "$(json 'j["file"]')" "$P/share/esrgan/models/esrgan-small-x4.pth"
fi
python3 -c "open('in.ppm', 'wb').write(b'P6\n9 5\n255\n' + bytes(range(135)))"
cp "$ROOT/examples/minimal.c" "$ROOT/examples/minimal_cxx.cc" .

# pkg-config, shared and static.
export PKG_CONFIG_PATH=$P/lib/pkgconfig
is "$(pkg-config --modversion esrgan)" "$version"
expect 0 $CC -std=c99 -Wall -Wextra -pedantic -Werror minimal.c -o shared $(pkg-config --cflags --libs esrgan)
expect 0 env LD_LIBRARY_PATH="$P/lib" ./shared "$MODEL" in.ppm out.ppm
is "$(head -c 9 out.ppm | tr '\n' ' ')" "P6 36 20 "
is "$(readelf -d shared | grep -c 'NEEDED.*libesrgan.so.0')" 1
expect 0 $CC minimal.c -o static $(pkg-config --cflags esrgan) -Wl,-Bstatic -lesrgan -L"$P/lib" -Wl,-Bdynamic \
    $(pkg-config --static --libs esrgan | sed 's/-lesrgan//')
expect 0 ./static "$MODEL" in.ppm out2.ppm
same out.ppm out2.ppm
is "$(readelf -d static | grep -c 'NEEDED.*libesrgan')" 0

# CMake, both kinds, C and C++.
mkdir project
cp minimal.c minimal_cxx.cc project
cat >project/CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.10)
project(consumer C CXX)
set(CMAKE_C_STANDARD 99)
set(CMAKE_CXX_STANDARD 11)
find_package(esrgan ${version%.*} REQUIRED)
foreach(kind "" _static)
  add_executable(c\${kind} minimal.c)
  target_link_libraries(c\${kind} PRIVATE esrgan::esrgan\${kind})
  add_executable(cxx\${kind} minimal_cxx.cc)
  target_link_libraries(cxx\${kind} PRIVATE esrgan::esrgan\${kind})
endforeach()
END
if command -v cmake >/dev/null; then
    expect 0 cmake -S project -B made -DCMAKE_PREFIX_PATH="$P"
    expect 0 env -u MAKEFLAGS -u MAKELEVEL cmake --build made
    for kind in "" _static; do
        expect 0 "./made/c$kind" "$MODEL" in.ppm "out$kind.ppm"
        same "out$kind.ppm" out2.ppm
        expect 0 "./made/cxx$kind" "$MODEL"
        printed '^RRDBNet x4'
    done
    sed -i "s/find_package(esrgan [^ ]*/find_package(esrgan 99.0/" project/CMakeLists.txt
    expect 1 cmake -S project -B made2 -DCMAKE_PREFIX_PATH="$P"
else
    echo "no cmake: its package file is not tried"
fi
finish
