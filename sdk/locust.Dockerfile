# Locust with this project's load: a master or a worker, as the command says (compose.yaml has both).
FROM docker.io/locustio/locust:2.47.0
RUN pip install --no-cache-dir redis==8.1.0
COPY locustfile.py /load/sdk/
COPY python/kv_cache.py /load/sdk/python/
ENV LOCUST_LOCUSTFILE=/load/sdk/locustfile.py
