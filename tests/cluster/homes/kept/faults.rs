//! Homes that are killed, frozen or cut off, and NATS servers that are away.

use rustix::process::Signal;

use super::*;

/// Waits until a node does not reach NATS.
async fn is_away(host: &Started) {
    eventually("the node is alone", || async {
        let status = host.admin("GET", "/v1/nodes", "").await.json();
        status["state"] == "down" && status["nodes"].as_array().unwrap().len() == 1
    })
    .await;
}

/// Writes a message after the first one, as a home does that these nodes do not know.
async fn write_as_another_home(nats: &Nats, channel: &str, (epoch, number): &(String, u64), data: &str) {
    let context = async_nats::jetstream::new(nats.client().await);
    let stream = context.get_stream("fanfare_histories").await.unwrap();
    let subject = format!("fanfare.history.{}", channel.replace('/', "=2f"));
    let before = stream.get_last_raw_message_by_subject(&subject).await.unwrap().sequence;
    let payload = json!(data).to_string();
    let header = json!({
        "format": 1,
        "epoch": u64::from_str_radix(epoch, 16).unwrap(),
        "before": before,
        "first": number + 1,
        "messages": [[1, null, "text", payload.len()]],
    });
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Fanfare-History", header.to_string());
    context.publish_with_headers(subject, headers, payload.into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn when_the_home_is_killed_another_node_continues_with_the_next_position() {
    let Some(nats) = Nats::start().await else { return };
    let (a, c) = (node(&nats, "a-1").await, node(&nats, "c-1").await);
    let (_project, b) = process(&nats.url(), "b-1").await;
    agree(&[&a, &c], &ALL).await;
    let channel = channel("lasting", &[("b-1", &ALL), ("c-1", &["a-1", "c-1"])]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&c, 2, &channel).await];
    let mut publishers = [Client::open(&a, 2).await, Client::open(&c, 2).await];
    // A client of the home that is killed, which resumes elsewhere.
    let mut lost = Client::at(b.http, 2).await;
    lost.ok("#subscribe", json!({ "channel": channel })).await;
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        publish(&mut publishers[number % 2], &channel, number).await;
        acknowledged.push(json!(number));
    }
    let seen = received(&mut lost, &json!(4)).await;
    // The home is killed while messages are on their way.
    let mut sent = Vec::new();
    for number in 100..120 {
        let request = json!({ "channel": channel, "data": number });
        sent.push((publishers[0].send("#publish", request).await, number));
        if number == 110 {
            b.signal(Signal::KILL);
        }
    }
    let mut unknown = Vec::new();
    for (id, number) in sent {
        let answer = publishers[0].answer(id).await;
        match answer["error"].is_null() {
            true => acknowledged.push(json!(number)),
            false if answer["error"].to_string().contains("unavailable") => {}
            false => unknown.push(json!(number)),
        }
    }
    agree(&[&a, &c], &["a-1", "c-1"]).await;
    for number in 200..210 {
        publish(&mut publishers[number % 2], &channel, number).await;
        acknowledged.push(json!(number));
    }
    let mut orders = Vec::new();
    for member in &mut members {
        let all = received(member, &json!(209)).await;
        check(&all, 1);
        orders.push(all);
    }
    assert_eq!(orders[0], orders[1]);
    let all = data(&orders[0]);
    let expected: Vec<Value> = all.iter().filter(|one| !unknown.contains(one)).cloned().collect();
    assert_eq!(expected, acknowledged, "what was acknowledged, in order, each once: {all:?}");
    assert_eq!(a.metric("fanfare_channel_gaps_total", &[]).await, 0.0);
    assert_eq!(c.metric("fanfare_channel_gaps_total", &[]).await, 0.0);
    let mut resumed = Client::subscribed(&a, 2, &channel).await;
    let missed = history(&mut resumed, &channel, &position(seen.last().unwrap())).await;
    assert_eq!(missed, (all[5..].to_vec(), true));
}

#[tokio::test]
async fn a_home_that_was_frozen_gives_no_position_that_another_node_has_given() {
    let Some(nats) = Nats::start().await else { return };
    let (a, c) = (node(&nats, "a-1").await, node(&nats, "c-1").await);
    let (_project, b) = process(&nats.url(), "b-1").await;
    agree(&[&a, &c], &ALL).await;
    let homes =
        |name: &String| super::super::home(name, &ALL) == "b-1" && super::super::home(name, &["a-1", "c-1"]) == "c-1";
    let names = (0..).map(|number| format!("channels/lasting/{number}"));
    let channels: Vec<String> = names.filter(homes).take(20).collect();
    let mut member = Client::open(&a, 2).await;
    let mut own = Client::at(b.http, 2).await;
    for channel in &channels {
        member.ok("#subscribe", json!({ "channel": channel })).await;
        own.ok("#subscribe", json!({ "channel": channel })).await;
    }
    let mut publisher = Client::open(&c, 2).await;
    let mut acknowledged = vec![Vec::new(); channels.len()];
    for (index, channel) in channels.iter().enumerate() {
        publish(&mut publisher, channel, "before").await;
        acknowledged[index].push(json!("before"));
    }
    b.freeze().await;
    agree(&[&a, &c], &["a-1", "c-1"]).await;
    for (index, channel) in channels.iter().enumerate() {
        for number in 0..3 {
            publish(&mut publisher, channel, number).await;
            acknowledged[index].push(json!(number));
        }
    }
    // The frozen home finds them when it continues, and takes itself for the home.
    let mut sent = Vec::new();
    for channel in &channels {
        sent.push(own.send("#publish", json!({ "channel": channel, "data": "late" })).await);
    }
    b.signal(Signal::CONT);
    for (index, id) in sent.into_iter().enumerate() {
        let answer = own.answer(id).await;
        match answer["error"].is_null() {
            // It has learned of the other home first.
            true => acknowledged[index].push(json!("late")),
            false => assert!(answer["error"].to_string().contains("unavailable"), "{answer}"),
        }
    }
    agree(&[&a, &c], &ALL).await;
    for (index, channel) in channels.iter().enumerate() {
        publish(&mut publisher, channel, "last").await;
        acknowledged[index].push(json!("last"));
    }
    for client in [&mut member, &mut own] {
        let mut got = vec![Vec::new(); channels.len()];
        while got.iter().any(|all: &Vec<(String, u64, Value)>| all.last().is_none_or(|last| last.2 != "last")) {
            let message = client.message().await;
            let index = channels.iter().position(|channel| message["channel"] == **channel).unwrap();
            let (epoch, number) = place(&message);
            got[index].push((epoch, number, message["data"].clone()));
        }
        for (all, acknowledged) in got.iter().zip(&acknowledged) {
            check(all, 1);
            assert_eq!(&data(all), acknowledged, "what was acknowledged, and nothing else");
        }
    }
    assert_eq!(a.metric("fanfare_channel_gaps_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_home_that_was_overtaken_is_refused_and_all_receive_what_the_stream_has() {
    for nats in Nats::all().await {
        let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
        agree(&[&a, &b], &["a-1", "b-1"]).await;
        let channel = channel("lasting", &[("b-1", &["a-1", "b-1"])]);
        let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
        let mut publisher = Client::open(&a, 2).await;
        publish(&mut publisher, &channel, "first").await;
        let mut orders = Vec::new();
        for member in &mut members {
            orders.push(received(member, &json!("first")).await);
        }
        let (epoch, number, _) = &orders[0][0];
        write_as_another_home(&nats, &channel, &(epoch.clone(), *number), "other").await;
        let error = try_publish(&mut publisher, &channel, json!("refused")).await;
        assert!(error.to_string().contains("unavailable"), "{error}");
        assert_eq!(b.metric("fanfare_histories_overtaken_total", &[]).await, 1.0);
        for (member, order) in members.iter_mut().zip(&mut orders) {
            order.extend(received(member, &json!("other")).await);
        }
        publish(&mut publisher, &channel, "last").await;
        for (member, mut order) in members.iter_mut().zip(orders) {
            order.extend(received(member, &json!("last")).await);
            check(&order, 1);
            assert_eq!(data(&order), ["first", "other", "last"]);
        }
    }
}

#[tokio::test]
async fn a_new_home_writes_after_what_the_previous_one_had_on_its_way() {
    for nats in Nats::all().await {
        // The time within which a new home expects it.
        let config = json!({ "cluster": { "goneAfter": "20s" } });
        let a = host(nats.node("a-1", "node")).config(config.clone()).start().await;
        let channel = channel("lasting", &[("b-1", &["a-1", "b-1"])]);
        let mut members = vec![Client::subscribed(&a, 2, &channel).await];
        publish(&mut members[0], &channel, "first").await;
        let b = host(nats.node("b-1", "node")).config(config).start().await;
        agree(&[&a, &b], &["a-1", "b-1"]).await;
        // It reads the stream for its member.
        members.push(Client::subscribed(&b, 2, &channel).await);
        let first = history(&mut members[1], &channel, "0-0").await;
        assert_eq!(first.0, ["first"]);
        let first = members[0].message().await;
        write_as_another_home(&nats, &channel, &place(&first), "late").await;
        let mut publisher = Client::open(&a, 2).await;
        let error = try_publish(&mut publisher, &channel, json!("last")).await;
        assert!(error.is_null(), "{error}");
        for member in &mut members {
            let all = received(member, &json!("last")).await;
            check(&all, 2);
            assert_eq!(data(&all), ["late", "last"]);
        }
        assert_eq!(b.metric("fanfare_histories_overtaken_total", &[]).await, 1.0);
    }
}

#[tokio::test]
async fn a_home_that_is_cut_off_publishes_nothing_and_continues_afterwards() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let far = settings("b-1", "node", &format!("nats://{}", cable.address));
    let (a, b) = (node(&nats, "a-1").await, host(far).start().await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("lasting", &[("b-1", &["a-1", "b-1"])]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
    let mut publishers = [Client::open(&a, 2).await, Client::open(&b, 2).await];
    publish(&mut publishers[0], &channel, "both").await;
    cable.pull();
    agree(&[&a], &["a-1"]).await;
    is_away(&b).await;
    publish(&mut publishers[0], &channel, "a alone").await;
    let error = try_publish(&mut publishers[1], &channel, json!("b alone")).await;
    assert!(error.to_string().contains("unavailable"), "{error}");
    // What it has read is still there.
    let page = publishers[1].ok("#subscribe", json!({ "channel": channel })).await;
    assert!(page.is_null(), "{page}");
    let page = members[1].ok("#history", json!({ "channel": channel })).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1, "{page}");
    cable.plug_in();
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publish(&mut publishers[1], &channel, "last").await;
    for member in &mut members {
        let all = received(member, &json!("last")).await;
        check(&all, 1);
        assert_eq!(data(&all), ["both", "a alone", "last"]);
    }
}

#[tokio::test]
async fn without_nats_nothing_is_published_and_what_was_acknowledged_is_there_afterwards() {
    let Some(mut nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("lasting", &[("b-1", &ALL)]);
    let mut members = Vec::new();
    for host in &hosts {
        members.push(Client::subscribed(host, 2, &channel).await);
    }
    for number in 0..5 {
        publish(&mut members[0], &channel, number).await;
    }
    let first = received(&mut members[1], &json!(0)).await;
    nats.kill();
    for host in &hosts {
        is_away(host).await;
        let mut publisher = Client::open(host, 2).await;
        let error = try_publish(&mut publisher, &channel, json!("lost")).await;
        assert!(error.to_string().contains("unavailable"), "{error}");
    }
    let page = members[1].ok("#history", json!({ "channel": channel, "after": position(&first[0]) })).await;
    assert_eq!((&page["complete"], page["messages"].as_array().unwrap().len()), (&json!(true), 4), "the home has it");
    let error = members[0].error("#history", json!({ "channel": channel })).await;
    assert!(error.to_string().contains("unavailable"), "{error}");
    nats.run().await;
    agree(&[&hosts[0], &hosts[1], &hosts[2]], &ALL).await;
    publish(&mut members[2], &channel, "last").await;
    for (index, member) in members.iter_mut().enumerate() {
        let earlier = if index == 1 { first.clone() } else { Vec::new() };
        let all = [earlier, received(member, &json!("last")).await].concat();
        check(&all, 1);
        assert_eq!(data(&all), [json!(0), json!(1), json!(2), json!(3), json!(4), json!("last")]);
    }
}

#[tokio::test]
async fn one_of_three_nats_servers_is_killed_and_nothing_acknowledged_is_lost() {
    let Some(mut servers) = Nats::three().await else { return };
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let a = host(settings("a-1", "node", &url)).start().await;
    let b = host(settings("b-1", "node", &url)).start().await;
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("lasting", &[("b-1", &["a-1", "b-1"])]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
    let mut publisher = Client::open(&a, 2).await;
    publish(&mut publisher, &channel, 0).await;
    let client = servers[1].client().await;
    let stream = async_nats::jetstream::new(client).get_stream("fanfare_histories").await.unwrap();
    let info = stream.cached_info();
    assert_eq!(info.config.num_replicas, 3);
    let leader = info.cluster.as_ref().unwrap().leader.clone().unwrap();
    let at = servers.iter().position(|server| server.name() == leader).unwrap();
    let (mut acknowledged, mut unknown) = (vec![json!(0)], Vec::new());
    for number in 1..60 {
        if number == 20 {
            servers[at].kill();
        }
        let error = try_publish(&mut publisher, &channel, json!(number)).await;
        match error.is_null() {
            true => acknowledged.push(json!(number)),
            false => unknown.push(json!(number)),
        }
    }
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publish(&mut publisher, &channel, "last").await;
    acknowledged.push(json!("last"));
    for member in &mut members {
        let all = received(member, &json!("last")).await;
        check(&all, 1);
        let expected: Vec<Value> = data(&all).into_iter().filter(|one| !unknown.contains(one)).collect();
        assert_eq!(expected, acknowledged);
    }
}
