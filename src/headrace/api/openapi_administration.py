"""The administration's part of our OpenAPI document."""

from typing import Any

from headrace.api.openapi_operation import OBJECT, PAGE, TEXT, Operation

AUDIT = ("limit", "after", "before", "event_types[]", "project_ids[]", "resource_ids[]", "actor_ids[]", "actor_emails[]")
BUCKETS = ("start_time", "end_time", "bucket_width", "group_by", "limit", "page")
ADMINISTRATION: tuple[Operation, ...] = (
    Operation("get", "/v1/organization/projects", "The projects of the organisation", query=(*PAGE, "include_archived")),
    Operation("post", "/v1/organization/projects", "Make a project", "Project"),
    Operation("get", "/v1/organization/projects/{project}", "One project"),
    Operation("post", "/v1/organization/projects/{project}", "Give a project another name", "Project"),
    Operation("post", "/v1/organization/projects/{project}/archive", "Archive a project: its keys are refused at once"),
    Operation("get", "/v1/organization/projects/{project}/users", "Who has a part in a project", query=PAGE),
    Operation("post", "/v1/organization/projects/{project}/users", "Give somebody a part", "ProjectUser"),
    Operation("get", "/v1/organization/projects/{project}/users/{user}", "One part"),
    Operation("post", "/v1/organization/projects/{project}/users/{user}", "Give another part", "ProjectUser"),
    Operation("delete", "/v1/organization/projects/{project}/users/{user}", "Take the part back, with the keys in the project"),
    Operation("get", "/v1/organization/projects/{project}/service_accounts", "The service accounts of a project", query=PAGE),
    Operation("post", "/v1/organization/projects/{project}/service_accounts", "Make one, with a key", "ServiceAccount"),
    Operation("get", "/v1/organization/projects/{project}/service_accounts/{account}", "One service account"),
    Operation("post", "/v1/organization/projects/{project}/service_accounts/{account}", "Change it", "ServiceAccountChange"),
    Operation("delete", "/v1/organization/projects/{project}/service_accounts/{account}", "Delete it with its keys"),
    Operation("post", "/v1/organization/projects/{project}/service_accounts/{account}/api_keys", "Make another key for it", "ApiKey"),
    Operation("get", "/v1/organization/projects/{project}/api_keys", "The keys of a project", query=PAGE),
    Operation("post", "/v1/organization/projects/{project}/api_keys", "Make a key of one's own", "ApiKey"),
    Operation("get", "/v1/organization/projects/{project}/api_keys/{key}", "One key"),
    Operation("post", "/v1/organization/projects/{project}/api_keys/{key}", "Give a key an end", "ApiKey"),
    Operation("delete", "/v1/organization/projects/{project}/api_keys/{key}", "Revoke a key"),
    Operation(
        "get",
        "/v1/organization/projects/{project}/rate_limits",
        "What all keys of a project may ask of each model",
        query=(*PAGE, "before"),
    ),
    Operation("post", "/v1/organization/projects/{project}/rate_limits/{limit}", "Limit a model", "RateLimit"),
    Operation("delete", "/v1/organization/projects/{project}/rate_limits/{limit}", "Take a limit back"),
    Operation("get", "/v1/organization/users", "The people of the organisation", query=(*PAGE, "emails")),
    Operation("get", "/v1/organization/users/{user}", "One of them"),
    Operation("post", "/v1/organization/users/{user}", "Give a role", "User"),
    Operation("delete", "/v1/organization/users/{user}", "Remove somebody, with keys and sign-ins"),
    Operation("get", "/v1/organization/invites", "Who is invited", query=PAGE),
    Operation("post", "/v1/organization/invites", "Invite somebody", "Invite"),
    Operation("get", "/v1/organization/invites/{invite}", "One invite"),
    Operation("delete", "/v1/organization/invites/{invite}", "Take an invite back"),
    Operation("get", "/v1/organization/groups", "The groups of people", query=PAGE),
    Operation("post", "/v1/organization/groups", "Make a group", "Group"),
    Operation("get", "/v1/organization/groups/{group}", "One group"),
    Operation("post", "/v1/organization/groups/{group}", "Give a group another name", "Group"),
    Operation("delete", "/v1/organization/groups/{group}", "Delete a group, with the parts that it gives"),
    Operation("get", "/v1/organization/groups/{group}/users", "Who is in a group", query=PAGE),
    Operation("post", "/v1/organization/groups/{group}/users", "Put somebody in", "GroupUser"),
    Operation("get", "/v1/organization/groups/{group}/users/{user}", "One of them"),
    Operation("delete", "/v1/organization/groups/{group}/users/{user}", "Take somebody out"),
    Operation("get", "/v1/organization/projects/{project}/groups", "Which groups have a part in a project", query=PAGE),
    Operation("post", "/v1/organization/projects/{project}/groups", "Give a group a part", "ProjectGroup"),
    Operation("get", "/v1/organization/projects/{project}/groups/{group}", "One part"),
    Operation("delete", "/v1/organization/projects/{project}/groups/{group}", "Take the part back"),
    Operation("get", "/v1/projects/{project}/roles", "Which roles there are in a project", query=PAGE),
    Operation("get", "/v1/projects/{project}/groups/{group}/roles", "Which a group has", query=PAGE),
    Operation("post", "/v1/projects/{project}/groups/{group}/roles", "Give it one", "GroupRole"),
    Operation("get", "/v1/projects/{project}/groups/{group}/roles/{role}", "Whether it has it"),
    Operation("delete", "/v1/projects/{project}/groups/{group}/roles/{role}", "Take it back"),
    Operation("get", "/v1/organization/admin_api_keys", "The keys that administer", query=PAGE),
    Operation("post", "/v1/organization/admin_api_keys", "Make one", "AdminApiKey"),
    Operation("get", "/v1/organization/admin_api_keys/{key}", "One of them"),
    Operation("delete", "/v1/organization/admin_api_keys/{key}", "Revoke it"),
    Operation(
        "get",
        "/v1/organization/audit_logs",
        "Who changed what, when and from where",
        query=AUDIT,
    ),
    Operation(
        "get",
        "/v1/organization/usage/{kind}",
        "What the organisation used",
        query=BUCKETS,
    ),
    Operation("get", "/v1/organization/costs", "What it is charged", query=BUCKETS),
    Operation("get", "/v1/organization/model_permissions", "Which models the organisation may ask for"),
    Operation("post", "/v1/organization/model_permissions", "Say which", "ModelPermissions"),
    Operation("delete", "/v1/organization/model_permissions", "Allow all"),
    Operation("get", "/v1/organization/projects/{project}/model_permissions", "Which models a project may ask for"),
    Operation("post", "/v1/organization/projects/{project}/model_permissions", "Say which", "ModelPermissions"),
    Operation("delete", "/v1/organization/projects/{project}/model_permissions", "Allow all"),
    Operation("get", "/v1/organization/spend_limit", "What the organisation may spend in a month"),
    Operation("post", "/v1/organization/spend_limit", "Set it", "SpendLimit"),
    Operation("delete", "/v1/organization/spend_limit", "Take it back"),
    Operation("get", "/v1/organization/spend_alerts", "At what amounts somebody is told", query=(*PAGE, "before")),
    Operation("post", "/v1/organization/spend_alerts", "Tell somebody at an amount", "SpendAlert"),
    Operation("get", "/v1/organization/spend_alerts/{alert}", "One alert"),
    Operation("post", "/v1/organization/spend_alerts/{alert}", "Change an alert", "SpendAlert"),
    Operation("delete", "/v1/organization/spend_alerts/{alert}", "Take an alert back"),
    Operation("get", "/v1/organization/projects/{project}/spend_limit", "What a project may spend in a month"),
    Operation("post", "/v1/organization/projects/{project}/spend_limit", "Set it", "SpendLimit"),
    Operation("delete", "/v1/organization/projects/{project}/spend_limit", "Take it back"),
    Operation("get", "/v1/organization/projects/{project}/spend_alerts", "At what amounts somebody is told", query=(*PAGE, "before")),
    Operation("post", "/v1/organization/projects/{project}/spend_alerts", "Tell somebody at an amount", "SpendAlert"),
    Operation("get", "/v1/organization/projects/{project}/spend_alerts/{alert}", "One alert"),
    Operation("post", "/v1/organization/projects/{project}/spend_alerts/{alert}", "Change an alert", "SpendAlert"),
    Operation("delete", "/v1/organization/projects/{project}/spend_alerts/{alert}", "Take an alert back"),
)
NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 128}
SECONDS: dict[str, Any] = {"type": "integer", "minimum": 1}
PART: dict[str, Any] = {"enum": ["owner", "member"]}
ROLE: dict[str, Any] = {"enum": ["owner", "admin", "member", "viewer", "billing"]}
KEY_ROLE: dict[str, Any] = {"enum": ["owner", "admin", "member", "viewer", "billing", "provisioner"]}


def _object(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


BODIES: dict[str, dict[str, Any]] = {
    "Project": _object("name", name=NAME),
    "ProjectUser": _object("role", role=PART, user_id=TEXT, email=TEXT),
    "ServiceAccount": _object("name", name=NAME, create_service_account_only={"type": ["boolean", "null"]}, expires_in_seconds=SECONDS),
    "ServiceAccountChange": _object(name=NAME, role=PART),
    "ApiKey": _object(name=NAME, expires_in_seconds=SECONDS),
    "AdminApiKey": _object("name", name=NAME, expires_in_seconds=SECONDS, role=KEY_ROLE),
    "RateLimit": _object(
        max_requests_per_1_minute=SECONDS,
        max_tokens_per_1_minute=SECONDS,
        max_requests_per_1_day=SECONDS,
    ),
    "User": _object("role", role=ROLE),
    "Invite": _object("email", "role", email=TEXT, role=ROLE, projects={"type": "array", "items": OBJECT}),
    "Group": _object("name", name=NAME),
    "GroupUser": _object("user_id", user_id=TEXT),
    "ProjectGroup": _object("group_id", "role", group_id=TEXT, role=PART),
    "GroupRole": _object("role_id", role_id=PART),
    "ModelPermissions": _object(
        "mode", "model_ids", mode={"enum": ["allow_list", "deny_list"]}, model_ids={"type": "array", "items": TEXT, "maxItems": 1_000}
    ),
    "SpendLimit": {
        "type": "object",
        "required": ["currency", "interval", "threshold_amount"],
        "properties": {
            "currency": {"const": "USD"},
            "interval": {"const": "month"},
            "threshold_amount": {"type": "integer", "minimum": 1},
            "enforcement": {"type": "object", "required": ["status"], "properties": {"status": {"enum": ["enforcing", "inactive"]}}},
        },
    },
    "SpendAlert": {
        "type": "object",
        "required": ["currency", "interval", "threshold_amount", "notification_channel"],
        "properties": {
            "currency": {"const": "USD"},
            "interval": {"const": "month"},
            "threshold_amount": {"type": "integer", "minimum": 1},
            "notification_channel": {
                "type": "object",
                "required": ["type", "recipients"],
                "properties": {
                    "type": {"const": "email"},
                    "recipients": {"type": "array", "items": TEXT, "minItems": 1},
                    "subject_prefix": {"type": ["string", "null"]},
                },
            },
        },
    },
}
