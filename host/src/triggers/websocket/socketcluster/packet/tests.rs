use serde_json::json;

use super::*;

fn text(text: &str) -> Payload {
    Payload::Text(text.to_owned())
}

fn event_of(name: &str, data: Payload, cid: Option<&str>) -> Packet {
    Packet::Event(Event { name: name.into(), data, cid: cid.map(Cid::new) })
}

fn raw(message: &str) -> Packet {
    Packet::Raw(text(message))
}

fn both(message: Payload) -> Vec<Packet> {
    let [one, two] = [Version::One, Version::Two].map(|version| match parse(message.clone(), version) {
        Incoming::Packets(packets) => packets,
        other => panic!("{other:?}"),
    });
    assert_eq!(one, two);
    one
}

#[test]
fn an_event_has_a_name_and_may_have_data_and_a_number() {
    for (message, expected) in [
        (r#"{"event":"hi","data":5,"cid":2}"#, event_of("hi", text("5"), Some("2"))),
        (r#"{"event":"hi","data":null,"cid":5}"#, event_of("hi", text("null"), Some("5"))),
        (r#"{"event":"hi","cid":6}"#, event_of("hi", Payload::None, Some("6"))),
        (r#"{"event":"hi","data":1}"#, event_of("hi", text("1"), None)),
        (r#"{"event":"hi","data":1,"cid":"seven"}"#, event_of("hi", text("1"), Some(r#""seven""#))),
        (r#"{"event":"hi","data":1,"cid":0}"#, event_of("hi", text("1"), Some("0"))),
        (r#"{"event":"hi","data":1,"cid":2.5}"#, event_of("hi", text("1"), Some("2.5"))),
        (r#"{"event":"hi","data":1,"cid":null}"#, event_of("hi", text("1"), None)),
        (r#"{"event":"hi","data":1,"cid":[1]}"#, event_of("hi", text("1"), None)),
        (r#"{"event":"","cid":9}"#, event_of("", Payload::None, Some("9"))),
        (
            r##"{"cid":1,"data":{"authToken":null},"event":"#handshake"}"##,
            event_of("#handshake", text(r#"{"authToken":null}"#), Some("1")),
        ),
        (r#" { "\u0065vent" : "a\"b" , "data" : [1, 2] } "#, event_of("a\"b", text("[1, 2]"), None)),
        (r#"{"event":"first","event":"last"}"#, event_of("last", Payload::None, None)),
    ] {
        assert_eq!(both(text(message)), [expected], "{message}");
    }
    let long = format!(r#"{{"event":"hi","cid":"{}"}}"#, "x".repeat(MAX_CID));
    assert_eq!(both(text(&long)), [event_of("hi", Payload::None, None)]);
    assert_eq!(both(Payload::Bytes(br#"{"event":"hi"}"#.to_vec())), [event_of("hi", Payload::None, None)]);
}

#[test]
fn all_other_messages_are_raw() {
    for message in [
        r#"{"event":"#,
        "plain",
        "[1,",
        r#""str""#,
        "5",
        "null",
        "{}",
        r#"{"a":1}"#,
        r#"{"event":null}"#,
        r#"{"event":5,"cid":9}"#,
        "#1",
    ] {
        assert_eq!(both(text(message)), [raw(message)], "{message}");
    }
    assert_eq!(both(Payload::Bytes(vec![0xff, 1])), [Packet::Raw(Payload::Bytes(vec![0xff, 1]))]);
    assert_eq!(both(Payload::Bytes(b"x".to_vec())), [Packet::Raw(Payload::Bytes(b"x".to_vec()))]);
    assert_eq!(parse(text(""), Version::One), Incoming::Packets(vec![raw("")]));
    assert_eq!(parse(text("#2"), Version::Two), Incoming::Packets(vec![raw("#2")]));
    assert_eq!((parse(text("#2"), Version::One), parse(text(""), Version::Two)), (Incoming::Pong, Incoming::Pong));
}

#[test]
fn each_element_of_a_list_is_a_packet_or_raw() {
    let list =
        r#"[{"event":"hi","data":1,"cid":2},{"event":"fail","cid":3}, "x" ,5,{"event":"hi","data":2,"cid":5},[1]]"#;
    let expected = [
        event_of("hi", text("1"), Some("2")),
        event_of("fail", Payload::None, Some("3")),
        raw(r#""x""#),
        raw("5"),
        event_of("hi", text("2"), Some("5")),
        raw("[1]"),
    ];
    assert_eq!(both(text(list)), expected);
    assert_eq!(both(text("[]")), []);
    assert_eq!(both(text("[[]]")), [raw("[]")]);
}

#[test]
fn a_list_has_a_maximum() {
    let list = |count| text(&format!("[{}]", vec![r#"{"event":"a"}"#; count].join(",")));
    assert_eq!(both(list(MAX_PACKETS)).len(), MAX_PACKETS);
    assert_eq!(parse(list(MAX_PACKETS + 1), Version::Two), Incoming::TooMany);
}

#[test]
fn nesting_is_not_recursion() {
    let deep = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
    let message = format!(r#"{{"event":"deep","data":{}}}"#, deep(100_000));
    assert_eq!(both(text(&message)), [event_of("deep", text(&deep(100_000)), None)]);
    assert_eq!(event("deep", &text(&deep(100_000)), None), message);
    assert_eq!(both(text(&"[".repeat(100_000))).len(), 1);
    let message = format!(r#"{{"rid":1,"error":{}}}"#, deep(100_000));
    assert!(matches!(&*both(text(&message)), [Packet::Answer(Some(Answer { result: Err(_), .. }))]));
}

#[test]
fn an_answer_has_the_number_of_the_hosts_event() {
    let one = |rid, result| vec![Packet::Answer(Some(Answer { rid, result }))];
    assert_eq!(both(text(r#"{"rid":1,"data":{"answer":42}}"#)), one(1, Ok(text(r#"{"answer":42}"#))));
    assert_eq!(both(text(r#"{"rid":2}"#)), one(2, Ok(Payload::None)));
    assert_eq!(both(text(r#"{"rid":2,"error":null,"data":1}"#)), one(2, Ok(text("1"))));
    let error = r#"{"message":"cannot","name":"ClientError","code":7}"#;
    let failure =
        Failure { name: "ClientError".into(), message: "cannot".into(), data: text(error), ..Failure::default() };
    assert_eq!(both(text(&format!(r#"{{"rid":2,"error":{error},"data":"data"}}"#))), one(2, Err(failure)));
    let failure = Failure { name: "Error".into(), message: "no".into(), data: text(r#""no""#), ..Failure::default() };
    assert_eq!(both(text(r#"{"rid":3,"error":"no"}"#)), one(3, Err(failure)));
    for unknown in [r#"{"rid":"x"}"#, r#"{"rid":-1}"#, r#"{"rid":2.5}"#, r#"{"rid":null}"#] {
        assert_eq!(both(text(unknown)), [Packet::Answer(None)], "{unknown}");
    }
}

#[test]
fn bytes_travel_inside_json() {
    let data = |json: &str| match both(text(&format!(r#"{{"event":"e","data":{json}}}"#))).pop() {
        Some(Packet::Event(event)) => event.data,
        other => panic!("{other:?}"),
    };
    let hello = r#"{"base64":true,"data":"aGVsbG8="}"#;
    assert_eq!(data(hello), Payload::Bytes(b"hello".to_vec()));
    assert_eq!(event("e", &Payload::Bytes(b"hello".to_vec()), None), format!(r#"{{"event":"e","data":{hello}}}"#));
    for other in [
        r#"{"base64":true,"data":"!"}"#,
        r#"{"base64":false,"data":"aGk="}"#,
        r#"{"base64":true,"data":"aGk=","x":1}"#,
        r#"{"base64":true}"#,
        r#"{"b":{"base64":true,"data":"aGk="}}"#,
    ] {
        assert_eq!(data(other), text(other));
    }
}

#[test]
fn json_goes_out_as_it_is_and_other_text_as_a_string() {
    let cid = Cid::new("2");
    for (data, expected) in [
        (Payload::None, r#"{"rid":2}"#),
        (text("null"), r#"{"rid":2,"data":null}"#),
        (text(r#" {"x": 5} "#), r#"{"rid":2,"data":{"x": 5}}"#),
        (text("text \"only\"\n"), r#"{"rid":2,"data":"text \"only\"\n"}"#),
        (text(""), r#"{"rid":2,"data":""}"#),
        (text("1 2"), r#"{"rid":2,"data":"1 2"}"#),
    ] {
        assert_eq!(answer(&cid, &data), expected);
    }
    assert_eq!(answer(&Cid::new(r#""seven""#), &text("1")), r#"{"rid":"seven","data":1}"#);
    assert_eq!(event("note", &Payload::None, None), r#"{"event":"note"}"#);
    assert_eq!(event("a\"b", &text(r#"{"q":1}"#), Some(1)), r#"{"event":"a\"b","data":{"q":1},"cid":1}"#);
    let refused = json!({ "message": "no" });
    assert_eq!(error(&cid, &refused, &text("[]")), r#"{"rid":2,"error":{"message":"no"},"data":[]}"#);
}
