"""terminal.py COMMAND...: runs it with a terminal as standard error and prints what it draws there."""

import os
import subprocess
import sys

inside, outside = os.openpty()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=outside)
os.close(outside)
drawn = b""
while True:
    try:
        part = os.read(inside, 4096)
    except OSError:
        break
    if not part:
        break
    drawn += part
process.wait(60)
sys.stdout.write(drawn.decode())
