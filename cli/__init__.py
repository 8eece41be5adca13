"""The `finops` command and the local stack."""

import os

# gRPC would run its own code in each process that is forked to start a server as another user, and
# ends it now and then before the server runs. It reads this when it is loaded.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
