-- Sends requests that are drawn at random from FILE, where they stand ready, each with a NUL at its
-- end; prints what came of them as one line of JSON.
--
-- wrk -s draw.lua URL -- FILE SEED
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  math.randomseed(tonumber(arguments[2]) * 1000 + number)
  local file = assert(io.open(arguments[1], "rb"))
  requests = {}
  for request in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = request
  end
  file:close()
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    'RESULT {"seconds":%f,"requests":%d,"bytes":%d,"refused":%d,"failed":%d,"p50_ms":%f,"p99_ms":%f}',
    summary.duration / 1e6, summary.requests, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
