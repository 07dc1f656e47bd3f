-- What run.py asks of wrk: `wrk -s wrk.lua URL -- DEPTH POSTED NAME VALUE NAME VALUE ...` sends these fields with each
-- request, DEPTH requests in each write, with a body of POSTED bytes each if that is not 0, and ends with one line of
-- numbers for run.py to read.

function init(args)
  local depth, posted = tonumber(args[1]), tonumber(args[2])
  for i = 3, #args, 2 do
    wrk.headers[args[i]] = args[i + 1]
  end
  if posted > 0 then
    wrk.method = "POST"
    wrk.body = string.rep("x", posted)
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
