-- What run.py asks of wrk: `wrk -s wrk.lua URL -- DEPTH NAME VALUE NAME VALUE ...` sends these fields with each
-- request, DEPTH requests in each write, and ends with one line of numbers for run.py to read.

function init(args)
  local depth = tonumber(args[1])
  for i = 2, #args, 2 do
    wrk.headers[args[i]] = args[i + 1]
  end
  if depth > 1 then
    local batch = string.rep(wrk.format(), depth)
    -- wrk calls a request() that exists for each write; without one it keeps the bytes it made first.
    request = function() return batch end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "bytes": %d, "duration": %.6f, "p99": %.3f, "errors": %d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
