-- Asks one question again and again, and ends with a line of JSON about it.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("LANDFALL_TOKEN")
  if args[1] == "random" then
    math.randomseed(os.time() * 64 + number)
    request = function()
      local sku = string.format("%08X", math.random(0, 4294967295))
      return wrk.format(nil, wrk.path .. "&where=sku:gte:" .. sku)
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"failed":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f}\n',
    summary.requests, failed, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
