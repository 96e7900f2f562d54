// Load on KV-Cache, or any server that speaks RESP, from k6's Redis module.
//
//     k6 run -u 20 -d 10s sdk/k6/resp.js
//     k6 run -u 20 -d 10s -e TARGET=127.0.0.1:7171 -e VALUE_SIZE=1024 -e READS=0.5 sdk/k6/resp.js
//
// k6 1.x has the module built in under the name below; k6 2 fetches it as an extension, whose name is 'k6/x/redis'.
//
// An iteration is one request, so that `iterations` is their rate and `iteration_duration` their latency. (The module has
// no pipeline.) A value follows from its key; one answer that is another value, or none, fails the run.
import { check } from 'k6';
import { Rate } from 'k6/metrics';
import redis from 'k6/experimental/redis';

const target = __ENV.TARGET || '127.0.0.1:7171';
const keys = number('KEYS', 10000);
const valueSize = number('VALUE_SIZE', 64);
const readShare = number('READS', 0.9);

export const options = {
  vus: 20,
  duration: '10s',
  thresholds: { checks: ['rate==1'] },
  summaryTrendStats: ['med', 'p(99)', 'max'],
};

const hits = new Rate('cache_hits');
const filling = 'x'.repeat(valueSize);
const valueOf = (key) => (key + '=' + filling).slice(0, valueSize);

// One client for each virtual user; it connects with its first request.
const client = new redis.Client({ socket: socket(target) });

export default async function () {
  const key = 'key:' + Math.floor(Math.random() * keys);
  const right = Math.random() < readShare ? await read(key) : await write(key);
  check(right, { 'answers are right': (it) => it });
}

async function read(key) {
  try {
    const value = await client.get(key);
    hits.add(true);
    return value === valueOf(key);
  } catch (error) {
    // The module reports a missing key as an error of this text.
    const missing = String(error).includes('redis: nil');
    hits.add(false);
    return missing;
  }
}

async function write(key) {
  try {
    return (await client.set(key, valueOf(key), 0)) === 'OK';
  } catch (error) {
    return false;
  }
}

function socket(address) {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: parseInt(address.slice(colon + 1), 10) };
}

function number(name, otherwise) {
  const value = __ENV[name] === undefined ? otherwise : Number(__ENV[name]);
  if (!(value >= 0)) {
    throw new Error(name + ' is no number: ' + __ENV[name]);
  }
  return value;
}
