#!/bin/bash
# The house keeps its rules: who includes whom, what is exported, headers that stand alone.
set -u
failed=0
complain() { echo "check_house: $*" >&2; failed=1; }

# ---- Includes: a room knows itself and what stands to the left of it --------------------------
rank() {
    case $1 in
        base/*) echo 1 ;;
        checkpoint/*) echo 2 ;;
        network/*) echo 3 ;;
        engine/*) echo 4 ;;
        *) echo 5 ;; # picture/, and the files in lib/ itself: the public functions
    esac
}
seen=0
while IFS=: read -r file line; do
    header=${line#*\"}
    header=${header%%\"*}
    seen=$((seen + 1))
    own=$(rank "${file#lib/}")
    if [ "$header" = esrgan.h ]; then
        continue
    elif [ -e "lib/$header" ]; then
        [ "$(rank "$header")" -le "$own" ] || complain "$file must not include $header"
    elif [ -e "kernels/$header" ]; then
        [ "$own" -ge 4 ] || complain "$file must not include the kernels' $header"
    elif [ -e "$(dirname "$file")/$header" ]; then
        complain "$file: write \"$(basename "$(dirname "$file")")/$header\", as others do"
    else
        complain "$file: where does $header come from?"
    fi
done < <(grep -rn --include='*.[ch]' '^ *# *include "' lib | sed 's/:[0-9]*:/:/')
[ "$seen" -gt 50 ] || complain "only $seen includes found in lib: run from the top of the checkout"

# Kernels are arithmetic: nothing of lib/, no memory, threads or files of their own.
while IFS=: read -r file line; do
    header=${line#*\"}
    header=${header%%\"*}
    [ -e "kernels/$header" ] || [ -e "$(dirname "$file")/$header" ] ||
        complain "$file must not include $header"
done < <(grep -rn --include='*.[ch]' '^ *# *include "' kernels | sed 's/:[0-9]*:/:/')
calls='\b(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|fopen|printf|pthread_create)[ ]*\('
if grep -rnE --include='*.[ch]' "$calls" kernels; then complain "kernels call what they must not"; fi

# Examples know the public header and their own.
while IFS=: read -r file line; do
    header=${line#*\"}
    header=${header%%\"*}
    [ "$header" = esrgan.h ] || [ -e "$(dirname "$file")/$header" ] ||
        complain "$file must not include $header"
done < <(grep -rn --include='*.[ch]' --include='*.cc' '^ *# *include "' examples | sed 's/:[0-9]*:/:/')

# ---- Symbols ---------------------------------------------------------------------------------
shared=$(ls "$BUILD"/libesrgan.so.*.*.* | head -1)
exported=$(nm -D --defined-only "$shared" | awk '{print $NF}' | sort)
others=$(echo "$exported" | grep -v '^esrgan_')
[ -z "$others" ] || complain "$shared exports $others"
# The library's own names, for those who link it statically; sanitizers and coverage add theirs.
others=$(nm -g --defined-only "$BUILD/libesrgan.a" 2>/dev/null | awk 'NF == 3 {print $3}' |
    grep -vE '^(esrgan_|es_|__|_ZN|asan\.|\.)' | sort -u)
[ -z "$others" ] || complain "libesrgan.a defines $others"
declared=$(tr '\n' ' ' <include/esrgan.h | grep -oE 'ESRGAN_API [^;(]*\(' |
    grep -oE 'esrgan_[a-z0-9_]+ *\($' | tr -d ' (' | sort)
[ "$(echo "$declared" | wc -l)" -ge 25 ] || complain "functions of esrgan.h not found"
missing=$(comm -23 <(echo "$declared") <(echo "$exported"))
[ -z "$missing" ] || complain "declared and not exported: $missing"
missing=$(comm -13 <(echo "$declared") <(echo "$exported"))
[ -z "$missing" ] || complain "exported and not declared: $missing"

# ---- Headers alone ---------------------------------------------------------------------------
strict='-Wall -Wextra -Wpedantic -Werror -fsyntax-only'
for compiler in "${CC:-cc}" gcc clang; do
    command -v "${compiler%% *}" >/dev/null || continue
    $compiler -std=c99 $strict -xc include/esrgan.h || complain "esrgan.h is not C99 to $compiler"
    $compiler -std=c11 $strict -xc include/esrgan.h || complain "esrgan.h is not C11 to $compiler"
    # Unused functions are what a header is made of.
    for header in lib/*.h lib/*/*.h; do
        $compiler -std=c11 -D_GNU_SOURCE -Iinclude -Ilib -Ikernels -Wall -Wextra -Werror \
            -Wno-unused-function -Wno-unused-const-variable -fsyntax-only -xc "$header" ||
            complain "$header does not stand alone for $compiler"
    done
done
for compiler in "${CXX:-c++}" g++ clang++; do
    command -v "${compiler%% *}" >/dev/null || continue
    for standard in c++98 c++11 c++20; do
        extra=
        [ $standard = c++98 ] && extra='-Wno-long-long -Wno-variadic-macros -Wno-c++11-long-long -Wno-unknown-warning-option'
        $compiler -std=$standard $strict $extra -xc++ include/esrgan.h ||
            complain "esrgan.h is not $standard to $compiler"
    done
done
exit $failed
