#!/usr/bin/env bash
# What compilers make of the kernels' products.  One that keeps a register block's sums in memory gives the
# same results in more than twice the time, and no other test would notice.
. "$(dirname "$0")/support/sh_lib.sh"
arm=aarch64-linux-gnu

# loops NAME...: a line for each loop of a listing that is wrong, of functions whose names begin so.
loops() { python3 "$ROOT/tests/support/inner_loops.py" "$@"; }

# object COMPILER KERNEL: where it lies when it is made; with flags and in a folder where other checks
# have it or want it, too.
object() {
    local build=$BUILD flags="-O2 -g"
    case $1 in
    $arm-gcc) build=$BUILD-arm ;;
    clang*) flags=-O2 ;;
    esac
    make -s -C "$ROOT" CC="$1" CFLAGS="$flags" BUILD="$build" code CODE="$2" 2>&1 | tail -n 1
}

# check COMPILER OBJDUMP KERNEL...: every kernel, where compiler and objdump are here.
check() {
    local compiler=$1 objdump=$2 kernel code found
    shift 2
    if ! command -v "${compiler%% *}" >/dev/null || ! command -v "$objdump" >/dev/null; then
        echo "skipped: no ${compiler%% *} or no $objdump"
        return
    fi
    for kernel; do
        checks=$((checks + 1))
        code=$($objdump -d --no-show-raw-insn "$(object "$compiler" "$kernel")")
        case $kernel in
        *avx512*) found=$(loops panel_ <<<"$code" && loops lanes_ <<<"$code") ;;
        *) found=$(loops panel_ lanes_ <<<"$code") ;; # the same: compilers keep one of them
        esac
        [ -z "$found" ] || fail "$compiler, $kernel: $found"
    done
}

# listing SPILLS: four loops of thirty products, the last with so many stores to the stack.
listing() {
    echo '0 <panel_14>:'
    awk -v spills="$1" 'BEGIN {
        for (loop = 0; loop < 4; loop++) {
            first = at
            for (i = 0; i < 30; i++) printf " %x:\tvfmadd231ps %%zmm1,%%zmm2,%%zmm3\n", at++
            for (i = 0; i < spills && loop == 3; i++) printf " %x:\tvmovaps %%zmm3,0x40(%%rsp)\n", at++
            printf " %x:\tjne    %x <panel_14+0x%x>\n", at++, first, first
        }
    }'
}
is "$(listing 3 | loops panel_)" "" "a few stores"
is "$(listing 4 | loops lanes_ panel_)" "panel_14: a loop of 30 products goes by way of the stack 4 times, as in \
vmovaps %zmm3,0x40(%rsp)" "too many stores"
is "$(listing 0 | head -n 80 | loops panel_)" "panel_: 2 loops of 24 products and more, not 4" "rolled loops"
is "$(listing 0 | loops lanes_)" "lanes_: 0 loops of 24 products and more, not 4" "another name"

x86="kernels/x86/avx2_native kernels/x86/avx512_native kernels/x86/avx512bf16_native"
neon=kernels/arm/neon_native
clang_arm="clang --target=$arm -isystem /usr/$arm/include"
case $(uname -m) in
x86_64)
    { # side by side
        for kernel in $x86; do object clang "$kernel" & done
        object $arm-gcc $neon &
        object "$clang_arm" $neon &
        wait
    } >/dev/null
    check "${CC:-cc}" objdump $x86
    check clang objdump $x86
    check $arm-gcc $arm-objdump $neon
    check "$clang_arm" $arm-objdump $neon
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
