"""interrupt.py SECONDS COMMAND...: runs it, sends SIGINT after that time, prints its exit status and
whether it ended within five seconds of the signal."""

import signal
import subprocess
import sys
import time

process = subprocess.Popen(sys.argv[2:], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
time.sleep(float(sys.argv[1]))
process.send_signal(signal.SIGINT)
sent = time.monotonic()
try:
    code = process.wait(60)
except subprocess.TimeoutExpired:
    process.kill()
    code = "never ended"
print(code, "soon" if time.monotonic() - sent < 5 else "late")
