"""The demo's files, worked by the worker of docs/pull-workers.md: beside this, it is worker.py."""
import hashlib, re

import worker

LICENCE = re.compile(rb"copyright|licen[cs]e|spdx", re.IGNORECASE)


def work(item):
    with open(item["reference"], "rb") as file:
        content = file.read()
    licensed = LICENCE.search(content[:4096]) is not None
    result = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "licensed": licensed}
    # One count is a million at most.
    counts = {"megabytes": len(content) // 1_000_000, "bytes": len(content) % 1_000_000, "licensed": int(licensed)}
    return {"result": result, "counts": counts}


worker.work = work
worker.main()
