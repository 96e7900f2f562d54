// Load on KV-Cache over HTTP, from k6's own HTTP module: nothing to install beside k6.
//
//     k6 run -u 20 -d 10s sdk/k6/http.js
//     k6 run -u 20 -d 10s -e TARGET=http://127.0.0.1:7171 -e VALUE_SIZE=1024 -e READS=0.5 -e TOKEN=password sdk/k6/http.js
//
// An iteration is one request; `http_req_duration` is its latency, `http_reqs` their rate. A value follows from its key; one answer
// that is another value, or an error, fails the run.
import { check } from 'k6';
import { Rate } from 'k6/metrics';
import http from 'k6/http';

const target = __ENV.TARGET || 'http://127.0.0.1:7171';
const keys = number('KEYS', 10000);
const valueSize = number('VALUE_SIZE', 64);
const readShare = number('READS', 0.9);

export const options = {
  vus: 20,
  duration: '10s',
  thresholds: { checks: ['rate==1'] },
  summaryTrendStats: ['med', 'p(99)', 'max'],
};

// A read of a missing key is an answer, not a failure.
http.setResponseCallback(http.expectedStatuses(200, 204, 404));

const hits = new Rate('cache_hits');
const filling = 'x'.repeat(valueSize);
const valueOf = (key) => (key + '=' + filling).slice(0, valueSize);
const headers = __ENV.TOKEN ? { Authorization: 'Bearer ' + __ENV.TOKEN } : {};
// One name for all keys, or k6 would keep statistics for each of them.
const params = { headers, tags: { name: '/v1/keys/{key}' } };

export default function () {
  const key = 'key:' + Math.floor(Math.random() * keys);
  const right = Math.random() < readShare ? read(key) : write(key);
  check(right, { 'answers are right': (it) => it });
}

function read(key) {
  const answer = http.get(target + '/v1/keys/' + key, params);
  hits.add(answer.status === 200);
  return answer.status === 404 || (answer.status === 200 && answer.body === valueOf(key));
}

function write(key) {
  return http.put(target + '/v1/keys/' + key, valueOf(key), params).status === 204;
}

function number(name, otherwise) {
  const value = __ENV[name] === undefined ? otherwise : Number(__ENV[name]);
  if (!(value >= 0)) {
    throw new Error(name + ' is no number: ' + __ENV[name]);
  }
  return value;
}
