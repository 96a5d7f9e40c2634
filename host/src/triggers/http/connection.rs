//! One connection, from its first byte to its end. HTTP/1.1 and HTTP/2, told apart by the first bytes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::rarely::Rarely;
use super::refusal::Told;
use super::watch::{Activity, Verdict, Watch, Watched};
use super::{Gate, Serve, Settings};

/// What hyper takes without keeping the headers on the heap.
const HYPER_MAX_HEADERS: usize = 100;

/// The least that hyper takes for a head.
const HYPER_MIN_HEAD: usize = 8_192;

/// Serves a connection until its end. On `shutdown` it takes no more requests and ends when the running ones have.
///
/// Runs on the thread of its worker; a panic in a request costs that request.
pub async fn serve<S: Serve>(
    stream: TcpStream,
    peer: SocketAddr,
    settings: Arc<Settings>,
    serve: S,
    shutdown: CancellationToken,
) {
    // It fails only when the client is gone.
    _ = stream.set_nodelay(true);
    let activity = Arc::<Activity>::default();
    let mut watch = Watch::new(settings.header_timeout, settings.idle_timeout);
    let builder = builder(&settings);
    let io = TokioIo::new(Watched::new(stream, activity.clone(), settings.clone()));
    let gate = Arc::new(Gate { settings, serve, peer });
    let service = service_fn(|request: Request<Incoming>| {
        let gate = gate.clone();
        let (open, mut running) = activity.start();
        if request.version() == Version::HTTP_2 {
            activity.is_http2();
        }
        async move {
            let spill = open > gate.settings.local_streams;
            let response = gate.answer(request, spill).await;
            running.end();
            Ok::<_, Infallible>(response.map(|body| Told { body, _running: running }))
        }
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut signal = Rarely::new(signal(Some(shutdown.clone()), watch.tick));
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let Poll::Ready(signalled) = signal.poll(cx) else {
                return Poll::Pending;
            };
            let verdict = match signalled {
                Signal::Tick => watch.look(&activity),
                Signal::Stop => {
                    stopping = true;
                    if activity.lingers() { Verdict::Drop } else { Verdict::Idle }
                }
            };
            match verdict {
                Verdict::Keep => {}
                Verdict::Idle => connection.as_mut().graceful_shutdown(),
                Verdict::Drop => return Poll::Ready(Ok(())),
            }
            let shutdown = (!stopping).then(|| shutdown.clone());
            signal.set(self::signal(shutdown, watch.tick));
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, error = %error, "a connection broke");
    }
}

/// What a connection's task hears of beside its socket.
enum Signal {
    Stop,
    Tick,
}

async fn signal(shutdown: Option<CancellationToken>, tick: Duration) -> Signal {
    let stop = async {
        match &shutdown {
            Some(token) => token.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop => Signal::Stop,
        () = tokio::time::sleep(tick) => Signal::Tick,
    }
}

fn builder(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head = usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX).max(HYPER_MIN_HEAD);
    // Its header timeout is replaced by our watch. A client that leaves ends nothing, so nobody has to read on to see it
    // leave while its request runs: a read less for each.
    builder.http1().header_read_timeout(None).max_buf_size(head).half_close(true);
    if settings.max_headers != HYPER_MAX_HEADERS {
        builder.http1().max_headers(settings.max_headers);
    }
    builder.http2().max_concurrent_streams(settings.max_streams).max_header_list_size(settings.max_header_bytes);
    builder
}
