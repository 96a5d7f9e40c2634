//! `run` calls `/echo` in a worker in a loop, to measure the cost of rpc with one caller.

use futures_util::future::join_all;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package bench:caller;
        world caller {
            import fanfare:module/rpc@0.1.0;
            export fanfare:module/handler@0.1.0;
        }
    ",
    generate_all,
});

use exports::fanfare::module::handler::Guest;
use fanfare::module::rpc;
use fanfare::module::types::{Call, CallOptions, Failure, Outcome, Payload, Reply, Target};

struct Caller;

impl Guest for Caller {
    async fn handle(call: Call) -> Result<Outcome, Failure> {
        match call.handler.as_str() {
            "echo" => Ok(reply(call.payload)),
            "run" => run(call).await,
            other => Err(failure(&format!("there is no handler `{other}`"))),
        }
    }
}

/// The payload is `worker calls in-flight`.
async fn run(call: Call) -> Result<Outcome, Failure> {
    let wanted = match &call.payload {
        Payload::Text(text) => text.split(' ').map(str::parse).collect::<Result<Vec<u32>, _>>().ok(),
        _ => None,
    };
    let Some([worker, calls, in_flight]) = wanted.as_deref().and_then(|list| <[u32; 3]>::try_from(list).ok()) else {
        return Err(failure("the payload is `worker calls in-flight`"));
    };
    let lane = async |count: u32| {
        for _ in 0..count {
            once(call.id, worker).await?;
        }
        Ok::<_, Failure>(())
    };
    let share = |lane: u32| calls / in_flight + u32::from(lane < calls % in_flight);
    match in_flight {
        1 => lane(calls).await?,
        _ => join_all((0..in_flight).map(|index| lane(share(index)))).await.into_iter().collect::<Result<(), _>>()?,
    }
    Ok(reply(Payload::None))
}

/// One call with 30 bytes there and back.
async fn once(caller: u64, worker: u32) -> Result<(), Failure> {
    let payload = Payload::Text("thirty bytes, neither more nor".to_owned());
    let options = CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() };
    match rpc::call(Some(caller), &Target::Worker(worker), "/echo", &payload, &options).await {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(&format!("{error:?}"))),
    }
}

fn reply(payload: Payload) -> Outcome {
    Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() })
}

fn failure(message: &str) -> Failure {
    Failure {
        name: "bench".to_owned(),
        message: message.to_owned(),
        status: 500,
        data: Payload::None,
        extra: Vec::new(),
    }
}

// Replaces `export!`, which leaks the parameters of a call: see `wit::handler` in the SDK.
const CALL: std::alloc::Layout = match std::alloc::Layout::from_size_align(152, 8) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

#[unsafe(export_name = "[async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn handle(call: *mut u8) -> i32 {
    unsafe {
        let code = exports::fanfare::module::handler::_export_handle_cabi::<Caller>(call);
        std::alloc::dealloc(call, CALL);
        code
    }
}

#[unsafe(export_name = "[callback][async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn resume(event: u32, first: u32, second: u32) -> u32 {
    unsafe { exports::fanfare::module::handler::__callback_handle(event, first, second) }
}
