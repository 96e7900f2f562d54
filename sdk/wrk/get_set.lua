-- Load on KV-Cache over HTTP, from wrk.
--
--     wrk -t 1 -c 64 -d 10s -s sdk/wrk/get_set.lua http://127.0.0.1:7171
--     wrk -t 1 -c 64 -d 10s -s sdk/wrk/get_set.lua http://127.0.0.1:7171 -- keys=10000 value_size=64 reads=0.9 pipeline=1
--
-- token=PASSWORD sends a password. All requests are made before the load begins, 1024 for each thread, so that the load costs wrk no
-- Lua at all but the choice of the next one. With a pipeline wrk counts every reply; its latencies are then of no use.

local settings = { keys = 10000, value_size = 64, reads = 0.9, pipeline = 1, token = '' }
local PREPARED = 1024

local requests, position, threads = {}, 0, {}

function setup(thread)
  thread:set('id', #threads)
  table.insert(threads, thread)
end

function init(arguments)
  for _, argument in ipairs(arguments) do
    local name, value = argument:match('^(%w+_?%w*)=(.*)$')
    if settings[name] == nil then
      error('no such setting: ' .. argument)
    end
    settings[name] = type(settings[name]) == 'number' and assert(tonumber(value), argument) or value
  end
  local filling = string.rep('x', settings.value_size)
  if settings.token ~= '' then
    wrk.headers['Authorization'] = 'Bearer ' .. settings.token
  end
  math.randomseed(id + 1)
  for i = 1, PREPARED do
    local together = {}
    for j = 1, settings.pipeline do
      local path = '/v1/keys/key:' .. math.random(0, settings.keys - 1)
      if math.random() < settings.reads then
        together[j] = wrk.format('GET', path)
      else
        together[j] = wrk.format('PUT', path, nil, filling)
      end
    end
    requests[i] = table.concat(together)
  end
end

function request()
  position = position % PREPARED + 1
  return requests[position]
end

-- What wrk counts as "Non-2xx" are reads of keys that nobody has written yet, unless something is wrong: run it twice.
function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format('p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms; errors: %d connect, %d read, %d write, %d timeout\n',
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000,
    e.connect, e.read, e.write, e.timeout))
end
