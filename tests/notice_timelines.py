"""What destinations are told of incidents, as timelines; tests/timelines.py says how to read them."""

from driftline.core.routing import QuietHours
from driftline.core.rules import Severity
from tests.timelines import PAGER, TICKETS, USUAL, route

NIGHT = QuietHours(22 * 60, 7 * 60)
EVERYTHING = route("all")

TIMELINES = {
    "one alert, from trigger to resolve": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        10m   resolve amount
        10m   > chat resolve
        """,
    ),
    "severities find their destinations": (
        USUAL,
        """
        0m    fire CRITICAL model
        0m    fire HIGH amount
        0m    fire MEDIUM country
        0m    fire LOW size
        0m    > pager trigger model amount country size
        0m    > chat trigger model amount country size
        0m    > tickets trigger model amount country size
        0m    = - size no_destination
        """,
    ),
    "a new alert is an update where something was told, and a trigger elsewhere": (
        USUAL,
        """
        0m    fire MEDIUM amount
        0m    > tickets trigger amount
        5m    fire HIGH country
        5m    > tickets update country
        5m    > chat trigger amount country
        6m    ack ana
        6m    > tickets acknowledge
        6m    > chat acknowledge
        9m    resolve amount country
        9m    > tickets resolve
        9m    > chat resolve
        """,
    ),
    "alerts that fire soon after a notice wait for the next one, worse ones do not": (
        (EVERYTHING,),
        """
        0m    fire MEDIUM a
        0m    > all trigger a
        10s   fire MEDIUM b
        10s   = all b too_soon
        20s   fire LOW c
        1m    > all update b c
        70s   fire HIGH d
        70s   > all update d
        """,
    ),
    "it is told again every four hours": (
        (EVERYTHING,),
        """
        0m    fire MEDIUM a
        0m    > all trigger a
        1h    nothing
        4h    > all update
        8h    > all update
        9h    resolve a
        9h    > all resolve
        """,
    ),
    "an acknowledgement stops repeats until something new fires": (
        (EVERYTHING,),
        """
        0m    fire MEDIUM a
        0m    > all trigger a
        1h    ack ana
        1h    > all acknowledge
        9h    ack ana
        9h    > all acknowledge
        20h   fire LOW b
        20h   > all update b
        24h   > all update
        25h   ack bob
        25h   > all acknowledge
        40h   resolve a b
        40h   > all resolve
        """,
    ),
    "an acknowledgement is told again when what fired since is over": (
        (EVERYTHING,),
        """
        0m    fire MEDIUM a
        0m    > all trigger a
        1h    ack ana
        1h    > all acknowledge
        2h    fire LOW b
        2h    > all update b
        3h    resolve b
        3h    > all acknowledge
        20h   resolve a
        20h   > all resolve
        """,
    ),
    "what nobody acknowledges is escalated once": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        30m   > pager trigger amount
        4h    > chat update
        4h30m > pager update
        5h    resolve amount
        5h    > chat resolve
        5h    > pager resolve
        """,
    ),
    "what is acknowledged is not escalated": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        29m   ack ana
        29m   > chat acknowledge
        29m   = pager incident acknowledged
        10h   nothing
        """,
    ),
    "what fires after an acknowledgement is escalated by itself": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        10m   ack ana
        10m   > chat acknowledge
        20m   fire HIGH country
        20m   > chat update country
        50m   > pager trigger amount country
        1h    nothing
        """,
    ),
    "medium alerts are not escalated": (
        USUAL,
        """
        0m    fire MEDIUM amount
        0m    > tickets trigger amount
        3h    nothing
        """,
    ),
    "when all that concerns a destination is over it is told so, and neither reminded nor told of the rest": (
        USUAL,
        """
        0m    fire CRITICAL model
        0m    > pager trigger model
        5m    fire MEDIUM amount
        5m    > pager update amount
        5m    > tickets trigger model amount
        10m   resolve model
        10m   > pager resolve
        20m   fire MEDIUM country
        20m   > tickets update country
        4h20m > tickets update
        5h    fire CRITICAL model
        5h    > pager trigger model amount country
        5h    > tickets update model
        6h    resolve model
        6h    > pager resolve
        7h    resolve amount country
        7h    > tickets resolve
        """,
    ),
    "the end of what concerns a destination is told at night and under a silence": (
        (route("mail", Severity.MEDIUM), route("chat", Severity.HIGH, quiet_hours=NIGHT)),
        """
        9h    fire HIGH amount
        9h    > chat trigger amount
        9h1m  fire MEDIUM country
        9h1m  > mail trigger amount country
        9h1m  > chat update country
        11h   silence 1h model=fraud
        11h   resolve amount
        11h   > chat resolve
        12h1m  nothing
        13h1m  > mail update
        """,
    ),
    "an escalation lasts as long as what was escalated": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        5m    fire MEDIUM country
        5m    > chat update country
        5m    > tickets trigger amount country
        30m   > pager trigger amount country
        40m   ack ana
        40m   > chat acknowledge
        40m   > pager acknowledge
        40m   > tickets acknowledge
        50m   resolve amount
        50m   > chat resolve
        50m   > pager resolve
        60m   fire HIGH amount
        60m   > chat trigger amount country
        60m   > tickets update amount
        """,
    ),
    "what nobody has acknowledged for long keeps those told who were told of worse": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        10m   fire CRITICAL model
        10m   > chat update model
        10m   > pager trigger amount model
        40m   resolve model
        60m   resolve amount
        60m   > chat resolve
        60m   > pager resolve
        """,
    ),
    "what is not yet escalated comes later to those who were told that worse is over": (
        USUAL,
        """
        0m    fire HIGH amount
        0m    > chat trigger amount
        10m   fire CRITICAL model
        10m   > chat update model
        10m   > pager trigger amount model
        20m   resolve model
        20m   > pager resolve
        30m   > pager trigger amount
        """,
    ),
    "a destination is not reminded while all that concerns it is silenced": (
        (PAGER, TICKETS),
        """
        0m    fire CRITICAL model
        0m    fire MEDIUM amount
        0m    > pager trigger model amount
        0m    > tickets trigger model amount
        1h    silence 5h severity=CRITICAL
        1h    = pager incident silenced
        4h    > tickets update
        6h    > pager update
        """,
    ),
    "broken data mute drift of the same feature until they are whole": (
        (EVERYTHING,),
        """
        0m    fire HIGH amount:missing_rate
        0m    fire HIGH amount country
        0m    > all trigger amount:missing_rate country
        0m    = all amount inhibited
        2h    resolve amount:missing_rate
        2h    > all update amount
        """,
    ),
    "broken data of the model mute the drift of the feature that is worst": (
        (EVERYTHING,),
        """
        0m    fire HIGH model:out_of_range_rate amount country
        0m    > all trigger model:out_of_range_rate country
        0m    = all amount inhibited
        2h    resolve amount
        2h    = all amount resolved_before_told
        """,
    ),
    "broken data of one segment say nothing of another": (
        (EVERYTHING,),
        """
        0m    fire HIGH amount:missing_rate@c=DE amount@c=DE amount@c=FR amount
        0m    > all trigger amount:missing_rate@c=DE amount@c=FR
        0m    = all amount inhibited
        0m    = all amount@c=DE inhibited
        """,
    ),
    "broken data that nobody is told of mute nothing": (
        USUAL,
        """
        0m    fire LOW amount:missing_rate
        0m    fire HIGH amount
        0m    = - amount:missing_rate no_destination
        0m    > chat trigger amount amount:missing_rate
        1m    ack ana
        1m    > chat acknowledge
        """,
    ),
    "a silence on broken data mutes their drift as well": (
        (EVERYTHING,),
        """
        0m    silence 5h metric=missing_rate
        0m    fire HIGH amount:missing_rate amount
        0m    = all amount:missing_rate silenced
        0m    = all amount inhibited
        5h    > all trigger amount:missing_rate
        """,
    ),
    "a silence holds until it ends": (
        (EVERYTHING,),
        """
        0m    silence 2h feature=a*
        1h    fire HIGH amount
        1h    = all amount silenced
        90m   fire HIGH country
        90m   > all trigger country
        2h    > all update amount
        """,
    ),
    "a silence that is ended early holds no longer": (
        (EVERYTHING,),
        """
        0m    silence 9h model=fraud
        1h    fire HIGH amount
        2h    unsilence
        2h    > all trigger amount
        """,
    ),
    "what was over before anybody was told is not told": (
        (EVERYTHING,),
        """
        0m    silence 9h model=fraud
        1h    fire HIGH amount
        2h    resolve amount
        2h    = all amount resolved_before_told
        12h   nothing
        """,
    ),
    "a silence stops repeats, and does not hold the end": (
        (EVERYTHING,),
        """
        0m    fire HIGH amount
        0m    > all trigger amount
        1h    silence 20h feature=amount
        1h    = all incident silenced
        10h   resolve amount
        10h   > all resolve
        """,
    ),
    "after a silence it is told again when that is due": (
        (EVERYTHING,),
        """
        0m    fire HIGH amount
        0m    > all trigger amount
        1h    silence 6h feature=amount
        7h    > all update
        8h    silence 1h feature=amount
        11h   > all update
        """,
    ),
    "what is held at night comes with the next repeat of what is critical": (
        (route("chat", quiet_hours=NIGHT),),
        """
        9h    fire CRITICAL model
        9h    > chat trigger model
        12h   fire LOW amount
        12h   = chat amount quiet_hours
        13h   > chat update amount
        17h   > chat update
        18h   nothing
        """,
    ),
    "quiet hours hold what is not critical until they end": (
        (route("chat", quiet_hours=NIGHT),),
        """
        11h   fire HIGH amount
        11h   = chat amount quiet_hours
        12h   fire HIGH country
        13h   resolve country
        13h   = chat country resolved_before_told
        19h   > chat trigger amount
        34h   resolve amount
        23h   > chat update
        27h   > chat update
        31h   > chat update
        34h   > chat resolve
        """,
    ),
    "repeats are held by quiet hours, too": (
        (route("chat", quiet_hours=NIGHT),),
        """
        9h    fire HIGH amount
        9h    > chat trigger amount
        13h   = chat incident quiet_hours
        19h   > chat update
        20h   nothing
        """,
    ),
    "critical alerts pass quiet hours, with all that is there": (
        (route("chat", quiet_hours=NIGHT),),
        """
        11h   fire HIGH amount
        12h   fire CRITICAL model
        12h   > chat trigger amount model
        13h   resolve amount model
        13h   > chat resolve
        """,
    ),
    "critical alerts can be held as well": (
        (route("chat", quiet_hours=NIGHT, holds_critical=True),),
        """
        12h   fire CRITICAL model
        19h   > chat trigger model
        20h   nothing
        """,
    ),
    "what fires and is over between two looks": (
        USUAL,
        """
        0m    fire CRITICAL model
        0m    resolve model
        0m    = pager model resolved_before_told
        5h    nothing
        """,
    ),
    "an acknowledgement at night is told at once to those who know": (
        (route("chat", Severity.HIGH, quiet_hours=NIGHT), route("mail", Severity.HIGH)),
        """
        11h   fire HIGH amount
        11h   > mail trigger amount
        12h   ack ana
        12h   > mail acknowledge
        19h   > chat trigger amount
        19h   > chat acknowledge
        40h   nothing
        """,
    ),
    "an incident that is over and one that follows are two": (
        (EVERYTHING,),
        """
        0m    fire HIGH a
        0m    > all trigger a
        1h    resolve a
        1h    > all resolve
        2h    fire HIGH a
        2h    > all trigger a
        3h    resolve a
        3h    > all resolve
        """,
    ),
}
