//! WebSockets between a real client and a real server, with the gateway between them.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{accept_async, connect_async};

use super::Gateway;
use crate::support::PATIENCE;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server that sends each message back, until it is told to go. It ends with the test's process.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = accept_async(stream).await.unwrap();
                    while let Some(Ok(message)) = socket.next().await {
                        if message == Message::from("go") {
                            let frame = CloseFrame { code: CloseCode::Away, reason: "going".into() };
                            _ = socket.close(Some(frame)).await;
                        } else if message.is_text() || message.is_binary() {
                            _ = socket.send(message).await;
                        }
                    }
                });
            }
        });
    });
    port
}

async fn converse(port: u16, number: usize) -> Result<(), Error> {
    let (mut socket, answer) = connect_async(format!("ws://127.0.0.1:{port}/socket?{number}")).await?;
    assert_eq!(answer.status(), 101);
    for round in 0..5 {
        let text = Message::from(format!("{number} says {round}"));
        socket.send(text.clone()).await?;
        assert_eq!(socket.next().await.unwrap()?, text);
    }
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).await?;
    assert_eq!(socket.next().await.unwrap()?, Message::Pong(Bytes::from_static(b"there?")));
    let large = Message::Binary(vec![u8::try_from(number % 256).unwrap(); 1 << 20].into());
    socket.send(large.clone()).await?;
    assert!(socket.next().await.unwrap()? == large, "a large message comes back whole");
    socket.send(Message::from("go")).await?;
    match socket.next().await.unwrap()? {
        Message::Close(Some(frame)) => assert_eq!((frame.code, &*frame.reason), (CloseCode::Away, "going")),
        other => panic!("{other:?}"),
    }
    assert!(socket.next().await.is_none_or(|end| end.is_err()), "nothing follows");
    Ok(())
}

#[test]
fn many_clients_converse_with_a_server() {
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", server()));
    let port = gateway.port;
    runtime().block_on(async {
        let all = (0..20).map(|number| converse(port, number));
        let done = tokio::time::timeout(PATIENCE, futures_util::future::try_join_all(all));
        done.await.expect("in time").expect("no socket fails");
    });
}
