"""What scim2-tester finds of a server: `scim_suite.py URL KEY` prints its findings as JSON. It runs in the environment that
`scripts/environment.sh clients` makes."""

import json
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

url, key = sys.argv[1:]
with Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
    found = check_server(SyncSCIMClient(client))
print(json.dumps([{"status": one.status.name, "title": one.title, "of": one.resource_type, "why": str(one.reason)} for one in found]))
