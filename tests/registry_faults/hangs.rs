//! Servers that take their time: each step of a look-up has its limit.

use surepull::config::{Registry, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A resolver with short limits; the endpoint is `registry.test`.
fn impatient(endpoint: &str) -> Resolver {
    let registry = Registry {
        timeouts: Timeouts {
            connect: Duration::from_millis(100),
            request: Duration::from_millis(300),
        },
        ..common::entry("registry.test", &[endpoint], None)
    };
    Resolver::new(&[registry], &Cache::default()).unwrap()
}

/// A server that does this with each connection, and keeps it.
pub(super) async fn raw<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = TcpStream> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let handled = handle(stream);
            tokio::spawn(async move {
                let _kept = handled.await;
                std::future::pending::<()>().await;
            });
        }
    });
    address.to_string()
}

/// A server that answers a request with headers without end.
pub(super) async fn endless_headers() -> String {
    raw(|mut stream| async {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream
            .write_all(b"x-more: and more and more and more\r\n")
            .await
            .is_ok()
        {}
        stream
    })
    .await
}

async fn times_out(resolver: &Resolver, words: &str) {
    let error = ask(resolver).await.unwrap_err();
    assert_eq!(error.class(), Class::TimedOut, "{words}: {error}");
    assert!(error.to_string().contains(words), "{words}: {error}");
}

#[tokio::test]
async fn a_hang_at_tcp_connect() {
    // A queue of one that is full: further connections are neither taken nor refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|_| tokio::spawn(TcpStream::connect(address)))
        .collect();
    let resolver = impatient(&format!("http://{address}"));
    // Until the queue is full, a connection comes about, and then there is no answer.
    let mut last = ask(&resolver).await.unwrap_err();
    for _ in 0..20 {
        if last.to_string().contains("no connection") {
            break;
        }
        let answer = resolver.resolve(&image(), &[], true, soon()).await;
        last = answer.unwrap_err();
    }
    assert_eq!(last.class(), Class::TimedOut, "{last}");
    assert!(
        last.to_string().contains("no connection within 0.1 s"),
        "{last}"
    );
    drop(waiting);
}

#[tokio::test]
async fn a_hang_at_tls() {
    let address = raw(|stream| async { stream }).await;
    let resolver = impatient(&format!("https://{address}"));
    times_out(&resolver, "no connection within 0.1 s").await;
}

#[tokio::test]
async fn a_hang_at_headers() {
    let address = raw(|stream| async { stream }).await;
    let resolver = impatient(&format!("http://{address}"));
    times_out(&resolver, "is silent for 0.3 s").await;
    let address = raw(|mut stream| async {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-").await;
        stream
    })
    .await;
    let resolver = impatient(&format!("http://{address}"));
    times_out(&resolver, "is silent for 0.3 s").await;
}

#[tokio::test]
async fn a_hang_in_the_body_and_a_body_that_trickles() {
    for trickles in [false, true] {
        let server = Faulty::answering(move |request| {
            if request.method() == "HEAD" {
                return reply(405, &[], "");
            }
            let bytes = stream::unfold((), move |()| async move {
                if !trickles {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
            });
            reply(200, &[], Body::from_stream(bytes))
        })
        .await;
        times_out(&impatient(&server.endpoint), "does not end").await;
    }
}

#[tokio::test]
async fn a_hang_at_the_token_service() {
    let service = raw(|stream| async { stream }).await;
    let challenge = format!(r#"Bearer realm="http://{service}/token""#);
    let server =
        Faulty::answering(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
    let registry = |pattern: &str, endpoint: &str| Registry {
        timeouts: Timeouts {
            request: Duration::from_millis(300),
            ..Timeouts::default()
        },
        ..common::entry(pattern, &[endpoint], None)
    };
    let registries = [
        registry("registry.test", &server.endpoint),
        registry("other.test", &format!("http://{service}")),
    ];
    let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
    times_out(&resolver, &format!("{service} is silent")).await;
}

#[tokio::test]
async fn a_connection_that_is_dropped() {
    for said in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(said.as_bytes()).await;
            }
        });
        let error = ask(&impatient(&endpoint)).await.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{said:?}: {error}");
    }
}

#[tokio::test]
async fn headers_without_end() {
    let address = endless_headers().await;
    let registry = common::entry("registry.test", &[&format!("http://{address}")], None);
    let resolver = Resolver::new(&[registry], &Cache::default()).unwrap();
    let error = ask(&resolver).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let error = ask(&impatient("http://nobody.invalid")).await.unwrap_err();
    // A resolver that does not answer at once is out of time.
    let class = error.class();
    assert!(
        matches!(class, Class::Unavailable | Class::TimedOut),
        "{error}"
    );
    assert!(error.to_string().contains("nobody.invalid"), "{error}");
}
