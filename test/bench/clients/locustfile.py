"""What users of locust write to measure streams: one request behind the other, iter_lines, a clock read a line."""

import json
import os
import time

import gevent
from locust import HttpUser, constant, events, task

REQUESTS = int(os.environ["REQUESTS"])
STREAMS = int(os.environ["STREAMS"])
PATH = "/" + os.environ["URL"].split("/", 3)[3]
with open(os.environ["BODY"], encoding="utf-8") as body_file:
    BODY = json.load(body_file)

ttft, itl, began, ended = [], [], [], []
tokens = failed = 0


class Streams(HttpUser):
    wait_time = constant(0)
    sent = 0

    @task
    def stream(self):
        global tokens, failed
        if self.sent == REQUESTS:
            gevent.sleep(3600)
        self.sent += 1
        start = time.perf_counter()
        last = None
        began.append(start)
        with self.client.post(PATH, json=BODY, stream=True, catch_response=True) as response:
            for line in response.iter_lines(chunk_size=None):
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                if not chunk["choices"] or not chunk["choices"][0]["delta"].get("content"):
                    continue
                now = time.perf_counter()
                (ttft.append(now - start) if last is None else itl.append(now - last))
                last = now
                tokens += 1
            if response.status_code != 200:
                failed += 1
        ended.append(time.perf_counter())
        if len(ended) == STREAMS * REQUESTS:
            gevent.spawn(self.environment.runner.quit)  # not from a user, whom it waits for


def stats(seconds):
    values = sorted(value * 1000 for value in seconds)
    if not values:
        return {"mean": 0, "p50": 0, "p90": 0, "p99": 0}

    def at(share):
        rank = share * (len(values) - 1)
        low = int(rank)
        return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (rank - low)

    return {"mean": sum(values) / len(values), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99)}


@events.quit.add_listener
def write(**_):
    result = {
        "requests": len(ended) - failed,
        "failed": failed,
        "tokens": tokens,
        "spanS": max(ended, default=0) - min(began, default=0),
        "ttftMs": stats(ttft),
        "itlMs": stats(itl),
    }
    with open(os.environ["RESULT"], "w", encoding="utf-8") as file:
        json.dump(result, file)
