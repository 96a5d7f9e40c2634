"""Connected clients, channels and live streams in `TestHost`."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

from fanfare import CallError, Failure
from fanfare.testing import Client, Refused, Rejected, TestHost

CHAT = Path(__file__).parent / "modules/chat/chat.py"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.host = TestHost(CHAT, workers=2)

    def error(self, kind: str, function: Any, *arguments: Any) -> CallError:
        with self.assertRaises(CallError) as caught:
            function(*arguments)
        self.assertEqual(caught.exception.kind, kind, caught.exception)
        return caught.exception

    def failure(self, function: Any, *arguments: Any) -> Failure:
        failure = self.error("failure", function, *arguments).failure
        assert failure is not None
        return failure

    def lines(self, level: str) -> list[str]:
        self.host.settle()
        return [line.message for line in self.host.logs if line.level == level]


class Sessions(Case):
    def test_messages_reach_groups_users_and_the_client_itself(self) -> None:
        ada, bob = self.host.connect(), self.host.connect(worker=1)
        ada.request("sign-in", '"ada"')
        bob.request("sign-in", '"bob"')
        self.assertEqual(ada.request("chat.say", "hello").text, "2")
        for client in (ada, bob):
            self.assertEqual([(one.name, one.text) for one in client.received], [("said", "hello")])
        self.assertEqual((ada.session.uid, ada.value("name"), ada.value("none")), ("ada", "ada", None))
        bob.disconnect()
        self.assertEqual(ada.request("/say", "alone").text, "one", "the filter replaced 1")
        self.assertEqual(ada.request("chat.room.say", "alone").text, "one")

    def test_a_user_is_refused_shared_or_replaced(self) -> None:
        first, second, third = (self.host.connect(worker=worker) for worker in (0, 1, 0))
        first.request("sign-in", '"ada"')
        self.assertEqual(self.failure(second.request, "sign-in", '"ada"').status, 403)
        second.request("sign-in?taken=share", '"ada"')
        self.assertIsNone(first.closed)
        third.request("sign-in?taken=replace", '"ada"')
        codes = [one.closed and one.closed[0] for one in (first, second, third)]
        self.assertEqual(codes, [4010, 4010, None])
        self.error("unavailable", first.request, "say", "x")
        self.assertIn("disconnect None", self.lines("info")[-1], "it has no user any more")

    def test_only_clients_reach_routes_with_the_middleware_session(self) -> None:
        client = self.host.connect()
        self.error("forbidden", self.host.call, "say", "x")
        self.error("forbidden", client.request, "open", "x")
        self.error("forbidden", client.request, "hook", "x")
        self.error("not-found", client.request, "gone", "x")
        self.error("not-found", client.request, "other.say", "x")
        self.assertEqual(self.host.call("open").json, [True, True])

    def test_filters_pass_facts_refuse_and_answer(self) -> None:
        client = self.host.connect(subdomain="acme")
        facts = client.request("facts", "hello").json
        expected = {
            "name": "facts",
            "wants": True,
            "params": {},
            "body": "hello",
            "extra": "POST facts",
            "uid": None,
            "tenant": "acme",
            "values": {},
            "count": [1, 0],
            "origin": True,
            "current": True,
        }
        self.assertEqual(facts, expected)
        self.assertEqual(client.request("facts", "old").json["body"], "new")
        self.assertEqual(client.request("facts", "known").text, "from the filter")
        self.assertEqual(self.failure(client.request, "facts", "bad").name, "bad-word")

    def test_a_plain_socket_has_parameters_and_receives_replies_as_messages(self) -> None:
        client = self.host.connect(socket="live/7")
        client.send("", "hello")
        facts = client.received[0].json
        self.assertEqual(
            (facts["name"], facts["params"], facts["wants"]), ("live/{room}", {"room": "7"}, False)
        )
        main = self.host.connect(socket="live/main")
        main.send("", "x")
        self.assertEqual([(one.name, one.text) for one in main.received], [("", "0")])
        self.error("not-found", self.host.connect(socket="other").request, "", "x")
        self.assertEqual(self.rejected(socket="gone"), (404, None))
        self.assertEqual(self.rejected(worker=2), (404, None))
        with self.assertRaises(ValueError):
            self.host.connect(socket="live/7", data="x")

    def rejected(self, **options: Any) -> tuple[int | None, int | None]:
        with self.assertRaises(Rejected) as caught:
            self.host.connect(**options)
        return caught.exception.status, caught.exception.code

    def test_hooks_admit_clients_and_tokens(self) -> None:
        client = self.host.connect(data="hi", claims={"uid": 1})
        self.assertEqual(client.session.claims, {"uid": 1})
        client.request("token")
        self.assertEqual(client.session.claims, {"uid": 7})
        client.request("kick")
        client.disconnect()
        self.assertEqual(client.closed, (4001, "kicked"))
        expected = [
            "upgrade - ",
            "connect None hi",
            'authenticate None {"uid":1}',
            'disconnect None {"code":4001,"reason":"kicked"}',
        ]
        self.assertEqual(self.lines("info"), expected)

        config = self.host.config
        config["authenticate"] = "replace"
        self.assertEqual(self.host.connect(claims={"uid": 1}).session.claims, {"replaced": True})
        config["authenticate"] = "4000"
        client = self.host.connect(claims={"uid": 1})
        self.assertEqual((client.session.claims, client.closed and client.closed[0]), (None, 4000))
        config["authenticate"] = "no code"
        client = self.host.connect(claims={"uid": 1})
        self.assertEqual((client.session.claims, client.closed), (None, None), "connected only")
        self.failure(client.authenticate, {})
        config["connect"] = "4123"
        self.assertEqual(self.rejected(), (None, 4123))
        self.assertEqual(self.rejected(socket="live/7"), (403, None))
        config["connect"] = "1001"
        self.assertEqual(self.rejected(), (None, 4008), "only codes of modules")
        config["upgrade"] = "4000"
        self.assertEqual(self.rejected(), (403, None))

    def test_the_hooks_of_a_client_read_its_request_and_the_parameters_of_its_socket(self) -> None:
        with self.host.connect(socket="live/7?a=b"):
            pass
        self.host.connect(headers={"X-User": "ada"})
        self.assertEqual(self.lines("trace"), ["upgrade ada", "connect ada"])
        expected = [
            "upgrade /api/chat/live/7 a=b 7",
            "connect /api/chat/live/7 a=b 7",
            "disconnect  a=b 7",
            "upgrade /socketcluster/  None",
            "connect /socketcluster/  None",
        ]
        self.assertEqual(self.lines("debug"), expected)

    def test_a_client_that_is_rejected_has_no_session(self) -> None:
        self.host.config["connect"] = "4000"
        self.rejected()
        del self.host.config["connect"]
        self.assertEqual(self.host.connect().request("facts").json["count"], [1, 0])

    def test_a_failure_with_a_close_code_closes_the_connection(self) -> None:
        for socket in (None, "live/main"):
            client = self.host.connect(socket=socket)
            self.failure(client.request, "say", "out")
            self.assertEqual(client.closed and client.closed[0], 4403, socket)

    def test_a_push_counts_a_recipient_once_and_reports_the_unknown(self) -> None:
        client = self.host.connect()
        self.assertEqual(client.request("push").json, [1, ["nobody"]])
        self.assertEqual(len(client.received), 1)

    def test_a_module_reads_and_changes_the_sessions_of_others(self) -> None:
        ada, bob = self.host.connect(), self.host.connect()
        bob.request("sign-in", '"bob"')
        expected = [{"name": "bob", "b": 2, "c": [3]}, "gone", 1, 1, [True, 1, []], True, None]
        self.assertEqual(ada.request("others", f'"{bob.id}"').json, expected)
        self.assertEqual([one.text for one in bob.received], ["hi", "again"])
        bob.disconnect()
        self.assertEqual(self.failure(ada.request, "others", f'"{bob.id}"').name, "not-found")

    def test_calls_belong_to_the_tenant_of_their_caller_or_to_the_one_that_it_names(self) -> None:
        self.host.answer("shop/tenant", lambda call: f"shop for {call.subdomain}")
        client = self.host.connect(subdomain="acme")
        expected = ["other"] * 5 + ["acme"] * 5 + ["shop for acme"]
        self.assertEqual(client.request("chat.client.tenants").json, expected)

    def test_a_client_answers_questions(self) -> None:
        client = self.host.connect()
        self.assertEqual(self.failure(client.request, "ask", "who?").status, 504)
        client.answer("question", lambda question: f"{question} me")
        self.assertEqual(client.request("ask", "who?").text, "who? me")
        client.answer("question", lambda _: "over")
        self.assertEqual(client.request("ask", "who?").text, "from the filter after")

    def test_a_swap_and_a_restart_keep_the_session(self) -> None:
        client = self.host.connect()
        client.request("sign-in", '"ada"')
        self.host.swap()
        self.host.restart()
        facts = client.request("facts").json
        self.assertEqual(
            (facts["uid"], facts["values"], facts["count"]), ("ada", {"name": "ada"}, [1, 1])
        )


class Channels(Case):
    def data(self, client: Client) -> list[Any]:
        self.host.settle()
        return [one.json.get("data") for one in client.received]

    def test_members_receive_the_messages_of_clients_and_guests_in_one_order(self) -> None:
        ada, bob = self.host.connect(), self.host.connect(worker=1)
        for client in (ada, bob):
            client.subscribe("any")
            client.subscribe("any", "again")
        ada.publish("any", {"a": 1})
        self.host.call("burst", "any")
        self.assertEqual(self.host.call("place?channel=any", "text").text, "None")
        self.assertIsNone(self.host.publish_to_channel("any"))
        bob.publish("any", bytes((1, 2, 3, 255)))
        every = [{"a": 1}, 1, 2, 3, 4, 5, "text", None, {"base64": True, "data": "AQID/w=="}]
        self.assertEqual((self.data(ada), self.data(bob)), (every, every))
        self.assertEqual(ada.received[0].name, "#publish")
        self.assertEqual(len(self.host.channel_messages("any")), 9)
        self.assertEqual([one.session for one in self.host.channel_members("any")], [ada.id, bob.id])
        bob.unsubscribe("any")
        ada.disconnect()
        self.host.publish_to_channel("any", "nobody")
        self.assertEqual((len(self.data(ada)), len(self.data(bob))), (9, 9))
        self.assertEqual(self.host.channel_members("any"), [])
        self.error("unavailable", ada.publish, "any", "x")

    def test_a_route_changes_and_refuses_messages_and_keeps_their_order(self) -> None:
        client = self.host.connect()
        client.subscribe("chat/routed/1")
        client.publish("chat/routed/1", '"a"')
        self.assertEqual(self.failure(client.publish, "chat/routed/1", '"refuse"').name, "no")
        refused = self.failure(client.publish, "chat/routed/1", '"status"')
        self.assertEqual((refused.name, refused.status), ("refused", 302))
        client.publish("chat/routed/1", '"reply"')
        self.assertEqual(self.failure(self.host.call, "place?channel=chat/routed/1", '"refuse"').name, "no")
        self.host.call("burst", "chat/routed/1")
        expected = [['"a"'], "reply", ["1"], ["2"], ["3"], ["4"], ["5"]]
        self.assertEqual(self.data(client), expected)
        self.failure(client.subscribe, "chat/routed/2", '"refuse"')
        self.assertEqual(self.host.channel_members("chat/routed/2"), [])
        client.unsubscribe("chat/routed/1")
        seen = self.host.call("seen").json
        self.assertEqual((seen[0], seen[-1]), ("subscribe chat/routed/1", "unsubscribe chat/routed/1"))

    def test_deliver_decides_for_each_client(self) -> None:
        ada, bob = self.host.connect(), self.host.connect()
        for client in (ada, bob):
            client.subscribe("chat/each")
        self.host.publish_to_channel("chat/each", '"x"')
        self.host.publish_to_channel("chat/each", '"refuse"')
        for client in (ada, bob):
            self.assertEqual(self.data(client), [{"for": client.id, "was": '"x"'}])
        kept = self.host.channel_messages("chat/each")
        self.assertEqual([one.text for one in kept], ['"x"', '"refuse"'], "kept as published")

    def test_a_history_is_read_after_a_position(self) -> None:
        client = self.host.connect()
        client.subscribe("chat/kept/1")
        for place in ("test-1", "test-2", "test-3"):
            self.assertEqual(self.host.call("place?channel=chat/kept/1", "x").text, place)
        self.assertEqual([one.json["position"] for one in client.received], ["test-1", "test-2", "test-3"])
        cases: list[tuple[str, list[Any]]] = [
            ("null", [[2, 3], 3, False]),
            ('"test-0"', [[2, 3], 3, False]),
            ('"test-1"', [[2, 3], 3, True]),
            ('"test-2"', [[3], 3, True]),
            ('"test-3"', [[], 3, True]),
            ('"other-2"', [[2, 3], 3, False]),
        ]
        for after, expected in cases:
            page = self.host.call("page?channel=chat/kept/1", after).json
            self.assertEqual(page, expected, after)
        self.assertEqual(self.host.call("page?channel=any", "null").json, [[], 0, True])
        self.failure(self.host.call, "page?channel=any", '"nothing"')
        self.assertEqual(self.host.call("place?channel=chat/kept/not/1", "x").text, "None")
        for place in ("test-1", "test-2", "test-3"):
            self.assertEqual(self.host.call("place?channel=chat/named/1", "x").text, place)
        self.assertEqual(self.host.call("page?channel=chat/named/1", "null").json, [[2, 3], 3, False])

    def test_presence_lists_and_announces_members(self) -> None:
        ada, bob = self.host.connect(), self.host.connect()
        bob.subscribe("presence/chat/all")
        ada.subscribe("chat/all", {"name": "ada"})
        ada.subscribe("chat/all")
        members = self.host.call("members", "chat/all").json
        self.assertEqual(members, [[ada.id, "checked"]], "the route has replaced the data")
        ada.disconnect()
        member = {"id": ada.id.partition("/")[2], "uid": None, "info": "checked"}
        expected = [
            {"action": "join", "member": member, "count": 1},
            {"action": "leave", "member": member, "count": 0},
        ]
        self.assertEqual(self.data(bob), expected)
        seen = self.host.call("seen").json
        self.assertEqual(
            [one.partition(" ")[0] for one in seen],
            ["subscribe", "subscribe", "join", "subscribe", "leave"],
        )
        self.error("forbidden", bob.publish, "presence/chat/all", "x")
        self.assertEqual(self.failure(self.host.call, "members", "any").name, "invalid")

    def test_a_guest_adds_and_kicks_out_clients(self) -> None:
        client, plain = self.host.connect(), self.host.connect(socket="live/main")
        self.error("invalid", plain.subscribe, "chat/1")
        for channel in ("chat/1", "chat/named/1"):
            for count, one in ((1, client), (2, plain)):
                self.assertEqual(self.host.call(f"add?channel={channel}", one.id).json, count)
            self.host.publish_to_channel(channel, 1)
        self.assertEqual((plain.received[0].name, plain.received[0].text), ("", "1"))
        envelope = {"channel": "chat/named/1", "data": 1, "position": "test-1"}
        self.assertEqual(plain.received[1].json, envelope)
        for count, one in ((1, client), (0, plain), (0, client)):
            self.assertEqual(self.host.call("kick-out?channel=chat/1", one.id).json, count)
        last = client.received[-1]
        self.assertEqual((last.name, last.json), ("#kickOut", {"channel": "chat/1", "message": "bye"}))
        self.assertEqual((len(client.received), len(plain.received)), (3, 2))
        self.assertEqual(self.failure(self.host.call, "add?channel=chat/1", "nobody").name, "not-found")

    def test_a_guest_subscribes_a_route_until_it_ends_the_subscription(self) -> None:
        name = self.host.call("follow", "chat/kept/2").text
        self.assertEqual(self.host.call("follow", "chat/kept/2").text, name)
        self.host.publish_to_channel("chat/kept/2", 1)
        self.host.restart()
        self.host.publish_to_channel("chat/kept/2", 2)
        self.host.publish_to_channel("chat/kept/3", 2)
        with self.assertRaises(CallError, msg="made in worker 0"):
            self.host.request("unfollow", name, worker=1)
        self.host.call("unfollow", name)
        self.host.publish_to_channel("chat/kept/2", 3)
        expected = [f"{name} channel chat/kept/2 test-{number} {number}" for number in (1, 2)]
        self.assertEqual(self.lines("warn"), expected)
        self.assertEqual(self.failure(self.host.call, "unfollow", name).name, "not-found")

    def test_names_of_channels_are_checked(self) -> None:
        client = self.host.connect()
        for name in ("", "a\n", "x" * 257):
            self.error("invalid", client.subscribe, name)
            self.error("invalid", self.host.publish_to_channel, name)
        self.error("forbidden", self.host.call, "decide")


class Streams(Case):
    def sent(self, route: str, data: Any = None) -> Any:
        return self.host.call(f"stream/{route}", data).json

    def test_an_event_reaches_the_readers_of_its_key_and_is_recorded(self) -> None:
        a, b = self.host.stream("a"), self.host.stream("b", worker=1)
        self.assertEqual(self.sent("publish?key=a", "1"), 1)
        self.assertEqual(self.sent("publish?key=nobody", "2"), 0)
        self.assertEqual(self.sent("publish", "3"), 2)
        here = self.sent("publish?key=b&reach=this-worker", "4")
        self.assertEqual(here, 0, "the reader is in the other worker")
        self.assertEqual(self.sent("publish?key=b&event=tick&id=7", "5"), 1)
        self.assertEqual([event.data for event in a.events], ["1", "3"])
        self.assertEqual([(event.data, event.event, event.id) for event in b.events][1], ("5", "tick", "7"))
        published = self.host.published
        self.assertEqual([one.key for one in published], ["a", "nobody", None, "b", "b"])
        self.assertEqual((published[3].reach, published[3].isolate), ("this-worker", "worker-0"))

    def test_readers_are_counted_and_closed(self) -> None:
        readers = [self.host.stream(key) for key in ("a", "a", "b", "")]
        self.assertEqual([self.sent(f"count{key}") for key in ("?key=a", "?key=", "")], [2, 1, 4])
        self.assertEqual(self.sent("close?key=a"), 2)
        self.assertEqual([one.is_open for one in readers], [False, False, True, True])
        self.assertEqual(self.sent("publish?key=a", "x"), 0)
        for reader in readers:
            reader.close()
        self.assertEqual(self.sent("count"), 0, "the readers have left")
        with self.host.stream("b") as reader:
            self.assertEqual(self.sent("count"), 1)
        self.assertEqual((self.sent("count"), reader.is_open), (0, False))
        reader = self.host.stream("b")
        self.assertEqual((self.sent("close"), reader.is_open), (1, False))

    def test_what_cannot_be_sent_is_invalid(self) -> None:
        cases: list[tuple[str, Any]] = [
            (f"publish?key={'k' * 257}", None),
            ("publish?key=a%0Ab", None),
            ("close?key=a%0Ab", None),
            ("publish?event=a%0Ab", None),
            ("publish?id=a%00", None),
            ("publish", b"\xff"),
        ]
        for route, body in cases:
            failure = self.failure(self.sent, route, body)
            self.assertEqual(failure.name, "invalid", route)
        self.assertEqual(self.host.published, [])

    def refused(self, key: str, **options: Any) -> Refused:
        with self.assertRaises(Refused) as caught:
            self.host.stream(key, **options)
        return caught.exception

    def test_the_route_of_the_manifest_admits_readers(self) -> None:
        for key in ("chat/a", "chat/reply", "chat/open/refuse", "other"):
            self.assertTrue(self.host.stream(key).is_open, key)
        options: dict[str, Any] = {"last_event_id": "7", "headers": {"X-User": "ada"}, "subdomain": "acme"}
        self.host.stream("chat/resumed", **options)
        refused = self.refused("chat/refuse")
        assert refused.error is not None and refused.error.failure is not None
        self.assertEqual((refused.status, refused.error.failure.name), (403, "no"))
        refused = self.refused("chat/redirect")
        self.assertEqual((refused.status, refused.error), (302, None))
        self.assertEqual(self.refused("k" * 257).status, 400)
        self.assertEqual(self.refused("a", worker=2).status, 404)
        self.assertEqual(self.sent("count"), 5, "those that were refused read nothing")


if __name__ == "__main__":
    unittest.main()
