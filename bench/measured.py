"""Runs the command it is given and tells the file descriptor REPORT_FD what it took.

The kernel counts what a process was before it became another program: the peak of one that a large process starts is that of
the large one. So the process that starts what is measured is this one, which is small.
"""

import json
import os
import sys
import time

begun = time.monotonic()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
took = time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
with os.fdopen(int(os.environ["REPORT_FD"]), "w") as report:
    json.dump(took, report)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
