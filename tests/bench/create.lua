-- wrk: each request creates one resource definition with a name of its own.
local thread_count = 0
function setup(thread)
   thread:set("id", thread_count)
   thread_count = thread_count + 1
end
function init(args)
   n = 0
   prefix = (args[1] or "b") .. "t" .. id .. "n"
   bad = 0
end
function request()
   n = n + 1
   return wrk.format("POST", "/v1/resource-definitions", { ["Content-Type"] = "application/json" },
      '{"resource_definition":{"name":"' .. prefix .. n .. '"}}')
end
function response(status)
   if status ~= 201 then bad = bad + 1 end
end
function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format("RESULT requests=%d seconds=%.6f p50_ms=%.3f p99_ms=%.3f bad=%d\n", summary.requests,
      summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      e.connect + e.read + e.write + e.status + e.timeout))
end
