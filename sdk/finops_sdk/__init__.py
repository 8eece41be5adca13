"""The Python client of the FinOps suite.

```python
from finops.usage.v1.cost_model_pb2 import QueryCostsRequest
from finops_sdk import Client

with Client("http://127.0.0.1:8080", token) as client:
    for row in client.usage.QueryCosts(QueryCostsRequest(group_by=["department"])).rows:
        print(row.group["department"], row.cost.amount)
```
"""

from finops_sdk.channel import Retry
from finops_sdk.client import AsyncClient, Client, connect
from finops_sdk.errors import ApiError
from finops_sdk.spend import AsyncSpend, Spend
from finops_sdk.streams import deliver, pages, resume

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncSpend",
    "Client",
    "Retry",
    "Spend",
    "connect",
    "deliver",
    "pages",
    "resume",
]
