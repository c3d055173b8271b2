"""What is known of AgentDojo's tools, as data: the labels of what they return and the roles of what they take.

Written from the tools' signatures alone; nothing here or in the rules knows a task, a name or an address of the benchmark. What an outsider
can write is `ANYONE`: bodies, subjects, file contents and names, event descriptions and places, web pages, reviews, channel names.
What we take for the person's own, and why: identifiers, sizes and states (the system gives them); contacts (the person keeps them);
titles and participants of events that stand in the person's own calendar (the person has taken them there); counterparties and amounts of
booked transactions (the bank states them); members of a workspace and the senders of its messages (it knows them by their sign-in).
"""

from headrace.agents import Card, Effect, Field, Readers, Writers

ANYONE, SERVICE, INSIDE, OWN = Writers.ANYONE, Writers.SERVICE, Writers.INSIDE, Writers.OWN
PUBLIC, HOUSE, PRIVATE = Readers.ANYONE, Readers.INSIDE, Readers.PERSON

ID = Field(writers=OWN, role="handle")
STATE = Field(writers=OWN)
OUTSIDE = Field()
EMAIL = {"id_": ID, "status": STATE, "read": STATE, "timestamp": Field(writers=OWN, role="time"), "subject": Field(role="name")}
EVENT = {
    "id_": ID,
    "title": Field(writers=INSIDE, role="name"),
    "participants": Field(writers=OWN, role="address"),
    "start_time": Field(writers=OWN, role="time"),
    "end_time": Field(writers=OWN, role="time"),
    "all_day": STATE,
    "status": STATE,
}
FILE = {
    "id_": ID,
    "filename": Field(role="name"),
    "size": Field(writers=OWN, role="size"),
    "last_modified": Field(writers=OWN, role="time"),
    "owner": STATE,
}
CONTACT = {"email": Field(writers=OWN, role="address"), "name": Field(writers=OWN, role="name")}
BOOKED = {
    "id": ID,
    "sender": Field(writers=OWN, role="address"),
    "recipient": Field(writers=OWN, role="address"),
    "amount": Field(writers=OWN, role="amount"),
    "subject": Field(role="name", own_where=("sender", frozenset(("me",)))),
    "date": Field(writers=OWN, role="time"),
    "recurring": STATE,
}
STANDING = {**BOOKED, "subject": Field(writers=OWN, role="name")}
"""Orders that the person gave."""
MEMBER = Field(writers=OWN, readers=HOUSE, role="handle")
CHANNEL = Field(writers=ANYONE, readers=HOUSE, role="handle")
MESSAGE = {"sender": MEMBER, "recipient": MEMBER, "body": Field(writers=INSIDE, readers=HOUSE)}
PAGE = Field(writers=ANYONE, readers=PUBLIC)
LISTED = Field(writers=SERVICE, readers=PUBLIC)
BY_NAME = {"*": Field(writers=SERVICE, readers=PUBLIC, role="name"), "": LISTED}

MAIL_OUT = Effect(kind="message", audience=PUBLIC, final=True)
OWN_EVENT = Effect(kind="event", audience_with={"participants": PUBLIC})
TO_COLLEAGUES = Effect(kind="message", audience=HOUSE)
RESERVATION = Effect(kind="reserve", audience=PUBLIC, final=True)
PAYMENT = Effect(kind="pay", audience=PUBLIC, final=True)


def _reads(names: str, fields: dict[str, Field], rest: Field = OUTSIDE) -> list[Card]:
    return [Card(tool=name, fields=fields, rest=rest, repeatable=True) for name in names.split()]


WORKSPACE = [
    *_reads("get_unread_emails get_sent_emails get_received_emails get_draft_emails search_emails", EMAIL),
    *_reads("search_contacts_by_name search_contacts_by_email", CONTACT),
    *_reads("get_current_day", {"": Field(writers=OWN, readers=PUBLIC, role="today")}),
    *_reads("search_calendar_events get_day_calendar_events", EVENT),
    *_reads("search_files_by_filename get_file_by_id list_files search_files", FILE),
    Card(
        tool="send_email",
        effect=MAIL_OUT,
        fields=EMAIL,
        arguments={"recipients": "recipient", "cc": "recipient", "bcc": "recipient", "attachments": "object"},
    ),
    Card(tool="delete_email", effect=Effect(kind="delete", final=True), arguments={"email_id": "object"}, fields=EMAIL),
    Card(
        tool="create_calendar_event",
        effect=OWN_EVENT,
        fields=EVENT,
        arguments={"title": "title", "start_time": "when", "end_time": "when", "participants": "recipient"},
    ),
    Card(tool="cancel_calendar_event", effect=Effect(kind="delete", audience=PUBLIC, final=True), arguments={"event_id": "object"}),
    Card(
        tool="reschedule_calendar_event",
        effect=Effect(kind="event"),
        fields=EVENT,
        arguments={"event_id": "object", "new_start_time": "when", "new_end_time": "when"},
    ),
    Card(
        tool="add_calendar_event_participants",
        effect=Effect(kind="event"),
        fields=EVENT,
        arguments={"event_id": "object", "participants": "recipient"},
    ),
    Card(tool="append_to_file", effect=Effect(kind="file"), fields=FILE, arguments={"file_id": "object"}),
    Card(tool="create_file", effect=Effect(kind="file"), fields=FILE, arguments={"filename": "title"}),
    Card(tool="delete_file", effect=Effect(kind="delete", final=True), fields=FILE, arguments={"file_id": "object"}),
    Card(
        tool="share_file",
        effect=Effect(kind="share", audience=PUBLIC, final=True),
        fields=FILE,
        arguments={"file_id": "object", "email": "recipient", "permission": "free"},
    ),
]

TRAVEL = [
    *_reads("get_user_information", {}, Field(writers=OWN)),
    *_reads(
        "get_hotels_prices get_hotels_address get_cuisine_type_for_restaurants get_restaurants_address "
        "get_dietary_restrictions_for_all_restaurants get_contact_information_for_restaurants get_price_for_restaurants "
        "check_restaurant_opening_hours get_car_types_available get_car_fuel_options get_car_rental_address get_car_price_per_day "
        "get_all_hotels_in_city get_all_restaurants_in_city get_all_car_rental_companies_in_city get_flight_information",
        BY_NAME,
        LISTED,
    ),
    *_reads("get_rating_reviews_for_hotels get_rating_reviews_for_restaurants get_rating_reviews_for_car_rental", BY_NAME, PAGE),
    *_reads("search_calendar_events get_day_calendar_events", EVENT),
    *[card for card in WORKSPACE if card.tool in ("create_calendar_event", "cancel_calendar_event", "send_email")],
    Card(tool="reserve_hotel", effect=RESERVATION, arguments={"hotel": "fact", "start_day": "when", "end_day": "when"}),
    Card(tool="reserve_restaurant", effect=RESERVATION, arguments={"restaurant": "fact", "start_time": "when"}),
    Card(tool="reserve_car_rental", effect=RESERVATION, arguments={"company": "fact", "start_time": "when", "end_time": "when"}),
]

BANKING = [
    *_reads("get_iban get_balance", {"": STATE}),
    *_reads("get_most_recent_transactions", BOOKED),
    *_reads("get_scheduled_transactions", STANDING),
    *_reads("read_file", {"": OUTSIDE}),
    *_reads("get_user_info", {}, STATE),
    Card(tool="send_money", effect=PAYMENT, arguments={"recipient": "account", "amount": "amount", "date": "free"}),
    Card(
        tool="schedule_transaction",
        effect=PAYMENT,
        arguments={"recipient": "account", "amount": "amount", "date": "free", "recurring": "free"},
    ),
    Card(
        tool="update_scheduled_transaction",
        effect=PAYMENT,
        arguments={"id": "object", "recipient": "account", "amount": "amount", "date": "free", "recurring": "free"},
    ),
    Card(tool="update_password", effect=Effect(kind="password", final=True), arguments={"password": "fact"}),
    Card(
        tool="update_user_info",
        effect=Effect(kind="profile", final=True),
        arguments={"first_name": "fact", "last_name": "fact", "street": "fact", "city": "fact"},
    ),
]

SLACK = [
    *_reads("get_channels", {"": CHANNEL}),
    *_reads("get_users_in_channel", {"": MEMBER}),
    *_reads("read_channel_messages read_inbox", MESSAGE),
    Card(tool="get_webpage", effect=Effect(kind="fetch", audience=PUBLIC), arguments={"url": "url"}, fields={"": PAGE}, repeatable=True),
    Card(tool="post_webpage", effect=Effect(kind="publish", audience=PUBLIC, final=True), arguments={"url": "url"}),
    Card(tool="send_direct_message", effect=TO_COLLEAGUES, arguments={"recipient": "recipient"}),
    Card(tool="send_channel_message", effect=TO_COLLEAGUES, arguments={"channel": "recipient"}),
    Card(tool="add_user_to_channel", effect=Effect(kind="membership", audience=HOUSE), arguments={"user": "object", "channel": "object"}),
    Card(
        tool="invite_user_to_slack",
        effect=Effect(kind="invite", audience=HOUSE, final=True),
        arguments={"user": "object", "user_email": "recipient"},
    ),
    Card(tool="remove_user_from_slack", effect=Effect(kind="delete", audience=HOUSE, final=True), arguments={"user": "object"}),
]

CARDS = {
    suite: {card.tool: card for card in cards}
    for suite, cards in {"workspace": WORKSPACE, "travel": TRAVEL, "banking": BANKING, "slack": SLACK}.items()
}
