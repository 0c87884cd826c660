#!/usr/bin/env python3
"""Whether sums stay in registers: `objdump -d` of kernels on standard input, a line for each loop where
they do not.  Of the functions whose names begin with one of the arguments.

An innermost loop of a function is what lies between a branch backwards and its target, with no such
branch in between.  Those with many multiply-adds are the register blocks."""

import re
import sys

MANY = 24  # multiply-adds of a loop that is a register block
LEAST = 4  # register blocks that a kernel has, one for every number of tiles
FEW = 0.1  # of them, so many may go by way of the stack
PRODUCT = re.compile(r"^(vfmadd|vdpbf16ps|fmla)")
STACK = re.compile(r"\(%rsp|\[sp[,\]]")
BRANCH = re.compile(r"^(?:j[a-z]+|b\.[a-z]+|cbn?z|tbn?z)\s.*?\b([0-9a-f]+) <")


def functions(lines):
    """(name, [(address, instruction)]) of every function."""
    name, code = None, []
    for line in lines:
        head = re.match(r"^[0-9a-f]+ <(.+)>:", line)
        step = re.match(r"^\s+([0-9a-f]+):\s+(.+)", line)
        if head:
            if code:
                yield name, code
            name, code = head.group(1), []
        elif step:
            code.append((int(step.group(1), 16), step.group(2)))
    if code:
        yield name, code


def innermost(code):
    """The loops of a function that hold no other."""
    place = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (address, text) in enumerate(code):
        branch = BRANCH.match(text)
        target = int(branch.group(1), 16) if branch else address + 1
        if target <= address and target in place:
            loops.append((place[target], i))
    for first, last in loops:
        if not any(first <= f and l <= last and (f, l) != (first, last) for f, l in loops):
            yield [text for _, text in code[first : last + 1]]


def main():
    wanted = tuple(sys.argv[1:])
    blocks = 0
    for name, code in functions(sys.stdin):
        if not name.startswith(wanted):
            continue
        for loop in innermost(code):
            products = sum(bool(PRODUCT.match(text)) for text in loop)
            if products < MANY:
                continue
            blocks += 1
            by_stack = [text for text in loop if STACK.search(text)]
            if len(by_stack) > FEW * products:
                print(f"{name}: a loop of {products} products goes by way of the stack "
                      f"{len(by_stack)} times, as in {by_stack[0]}")
    if blocks < LEAST:
        print(f"{' '.join(wanted)}: {blocks} loops of {MANY} products and more, not {LEAST}")


main()
