//! Groups of sessions.

use super::*;
use crate::harness::eventually;

fn members(group: &str) -> Value {
    json!({ "do": "members", "group": group })
}

#[tokio::test]
async fn a_group_exists_as_long_as_it_has_members() {
    let host = granted().start().await;
    let ((mut first, first_id), (second, second_id)) = (host.client().await, host.client().await);
    let join = |ids: &[&str]| json!({ "do": "join", "group": "g", "sessions": ids });
    assert_eq!(first.ask(join(&[&first_id, &second_id, "n/nobody"])).await, 2);
    assert_eq!(first.ask(join(&[&first_id])).await, 0);
    let mut both = [first_id.clone(), second_id.clone()];
    both.sort();
    assert_eq!(first.ask(members("g")).await, json!(both));
    drop(second);
    eventually("a session leaves its groups when it ends", || async {
        host.outside(members("g")).await == json!([first_id])
    })
    .await;
    let leave = json!({ "do": "leave", "group": "g", "sessions": [first_id, "n/nobody"] });
    assert_eq!(first.ask(leave.clone()).await, 1);
    assert_eq!(first.ask(leave).await, 0);
    assert_eq!(first.ask(members("g")).await, json!([]));
}

#[tokio::test]
async fn a_session_is_in_at_most_64_groups() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let join = |group: usize| json!({ "do": "join", "group": format!("g{group}"), "sessions": [id] });
    for group in 0..64 {
        assert_eq!(client.ask(join(group)).await, 1);
    }
    assert_eq!(error(&client.ask(join(64)).await), "overloaded");
    client.ask(json!({ "do": "leave", "group": "g0", "sessions": [id] })).await;
    assert_eq!(client.ask(join(64)).await, 1);
}

#[tokio::test]
async fn the_name_of_a_group_is_short() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    for group in [String::new(), "g".repeat(257)] {
        for what in ["join", "leave", "members"] {
            let result = client.ask(json!({ "do": what, "group": group, "sessions": [id] })).await;
            assert_eq!(error(&result), "invalid", "{what} {group}");
        }
    }
}
