-- For docs/haproxy.cfg: hold a request until TorchServe is ready, then give it TorchServe's own token.
--
-- TorchServe makes new tokens whenever it starts. `make serve` writes the one for a proxy when all models answer, and `make stop`
-- removes it before it drains: while the file is away, requests wait here, whole, and know nothing of the restart.

local file = os.getenv("DOOR_TOKEN")
local patience = 120 -- seconds, in which TorchServe has to be back

local function token()
  local opened = io.open(file)
  if not opened then
    return nil
  end
  local line = opened:read("l")
  opened:close()
  return line
end

core.register_action("wait_for_torchserve", { "http-req" }, function(txn)
  local deadline = core.now().sec + patience
  repeat
    local found = txn.f:nbsrv("torchserve") > 0 and token()
    if found then
      txn.http:req_set_header("Authorization", found)
      txn:set_var("txn.is_open", true)
      return
    end
    core.msleep(100)
  until core.now().sec >= deadline
end)
