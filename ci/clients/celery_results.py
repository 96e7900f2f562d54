"""Celery keeps the results of tasks here: a worker stores them, the caller waits for their announcement. The broker is in memory."""

import celery
from celery.contrib.testing.worker import start_worker
from harness import ADDRESS, Client, equal, finish, raises

client = Client("celery", celery.__version__, "Frameworks", "results")
app = celery.Celery("check", broker="memory://", backend=f"redis://{ADDRESS}/2")
app.conf.update(result_expires=60, worker_hijack_root_logger=False)


@app.task
def add(a, b):
    return a + b


@app.task
def fail():
    raise ValueError("on purpose")


with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR"):

    @client.step("task results (MULTI, SETEX, PUBLISH, SUBSCRIBE)")
    def results():
        equal(add.delay(2, 3).get(timeout=10), 5)
        waiting = [add.delay(i, i) for i in range(20)]
        equal([result.get(timeout=10) for result in waiting], [2 * i for i in range(20)])
        raises(ValueError, lambda: fail.delay().get(timeout=10))

    @client.step("groups of tasks (MGET)")
    def groups():
        equal(celery.group(add.s(i, 1) for i in range(10)).apply_async().get(timeout=10), list(range(1, 11)))

    @client.step("delete")
    def forget():
        result = add.delay(1, 1)
        equal(result.get(timeout=10), 2)
        result.forget()
        equal(app.AsyncResult(result.id).state, "PENDING")


finish()
