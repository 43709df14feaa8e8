"""A process of its own that sends events of one tenant at a steady rate until its input closes: `flooder.py ADDRESS TENANT RATE`.

It is no thread of the test, because the test measures how long answers take and must not wait for it.
"""

import http.client
import json
import select
import sys
import time

from live_server import TOKEN, event

BATCH_EVENTS = 20
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}


def main(address: str, tenant: str, per_second: int) -> None:
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.connect()
    print("ready", flush=True)
    begun, number, accepted, refused, without_wait = time.monotonic(), 0, 0, 0, 0
    while True:
        wait = begun + number / per_second - time.monotonic()
        if select.select([sys.stdin], [], [], max(wait, 0))[0]:
            break
        events = [event(number + step, tenant, id=f"{begun}-{number + step}") for step in range(BATCH_EVENTS)]
        number += BATCH_EVENTS
        connection.request("POST", "/api/v1/events", "".join(json.dumps(each) + "\n" for each in events), HEADERS)
        answer = connection.getresponse()
        answer.read()
        accepted += answer.status == 200
        refused += answer.status == 429
        without_wait += answer.status == 429 and int(answer.headers.get("Retry-After", 0)) < 1
        assert answer.status in (200, 429), answer.status
    seconds = time.monotonic() - begun
    print(json.dumps({"events": number, "accepted": accepted * BATCH_EVENTS, "refused": refused * BATCH_EVENTS,
                      "without_wait": without_wait, "seconds": seconds}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
