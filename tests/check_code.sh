#!/usr/bin/env bash
# What compilers make of the kernels' products.  One that keeps a register block's sums in memory gives the
# same results in more than twice the time, and no other test would notice.
. "$(dirname "$0")/support/sh_lib.sh"
FLAGS="-O2 -g"
arm=aarch64-linux-gnu

# A line for each loop of a listing that is wrong.
loops() { python3 "$ROOT/tests/inner_loops.py" multiply_panel; }

# object COMPILER FLAGS KERNEL: where it lies when it is made, beside those of other checks.
object() {
    local build=$BUILD
    [ "$1" != $arm-gcc ] || build=$BUILD-arm
    make -s -C "$ROOT" CC="$1" CFLAGS="$2" BUILD="$build" code CODE="$3" 2>&1 | tail -n 1
}

# check COMPILER OBJDUMP KERNEL...: every kernel, where compiler and objdump are here.
check() {
    local compiler=$1 objdump=$2 kernel found
    shift 2
    if ! command -v "${compiler%% *}" >/dev/null || ! command -v "$objdump" >/dev/null; then
        echo "skipped: no ${compiler%% *} or no $objdump"
        return
    fi
    for kernel; do
        checks=$((checks + 1))
        found=$($objdump -d --no-show-raw-insn "$(object "$compiler" "$FLAGS" "$kernel")" | loops)
        [ -z "$found" ] || fail "$compiler, $kernel: $found"
    done
}

# listing SPILLS: four loops of thirty products, the last with so many stores to the stack.
listing() {
    echo '0 <multiply_panel>:'
    awk -v spills="$1" 'BEGIN {
        for (loop = 0; loop < 4; loop++) {
            first = at
            for (i = 0; i < 30; i++) printf " %x:\tvfmadd231ps %%zmm1,%%zmm2,%%zmm3\n", at++
            for (i = 0; i < spills && loop == 3; i++) printf " %x:\tvmovaps %%zmm3,0x40(%%rsp)\n", at++
            printf " %x:\tjne    %x <multiply_panel+0x%x>\n", at++, first, first
        }
    }'
}
is "$(listing 3 | loops)" "" "a few stores"
is "$(listing 4 | loops)" "multiply_panel: a loop of 30 products goes by way of the stack 4 times, as in \
vmovaps %zmm3,0x40(%rsp)" "too many stores"

x86="kernels/x86/avx2_native kernels/x86/avx512_native"
neon=kernels/arm/neon_native
clang_arm="clang --target=$arm -isystem /usr/$arm/include"
case $(uname -m) in
x86_64)
    # Those that take longest side by side.
    object clang "$FLAGS" kernels/x86/avx512_native >"$WORK/made" &
    object $arm-gcc "$FLAGS" $neon >/dev/null
    wait
    check "${CC:-cc}" objdump $x86
    check clang objdump $x86
    check $arm-gcc $arm-objdump $neon
    check "$clang_arm" $arm-objdump $neon
    [ -n "$(objdump -d "$(object "${CC:-cc}" "-O2 -DES_ROLLED" kernels/x86/avx2_native)" | loops)" ] ||
        fail "that nothing was unrolled was not noticed"
    ;;
aarch64)
    check "${CC:-cc}" objdump $neon
    check clang objdump $neon
    ;;
*)
    echo "skipped: no kernels for $(uname -m)"
    exit 77
    ;;
esac
finish
