use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::{Entry, MakeScript, Memory};
use crate::script::ReplyBody;
use crate::stream::Stream;
use crate::wire::{BodyReader, Wire};
use crate::{Framing, Reply, Step};

/// Serves the requests of one connection, one after the other.
pub(super) async fn serve(stream: Stream, connection: usize, memory: Memory, script: MakeScript) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(head)) = wire.head().await {
        let framing = head.request_framing();
        let entry = memory.begin(connection, head.clone(), framing);
        let mut exchange = Exchange { wire, body: BodyReader::new(framing), entry };
        match exchange.play(script(exchange.entry.number, &head)).await {
            // What is left of the body would be taken for the next request.
            Ok(After::KeepAlive) if exchange.body.is_at_end() => wire = exchange.wire,
            Ok(After::KeepAlive | After::Close) => return,
            Ok(After::Reset) => return exchange.wire.reset(),
            Err(error) => return exchange.entry.abort(error.kind()),
        }
    }
}

struct Exchange {
    wire: Wire,
    body: BodyReader,
    entry: Entry,
}

enum After {
    KeepAlive,
    Close,
    Reset,
}

impl Exchange {
    async fn play(&mut self, script: Vec<Step>) -> io::Result<After> {
        for (number, step) in script.iter().enumerate() {
            self.entry.before(&script[number..]);
            match step.clone() {
                Step::Read(length) => self.read(length).await?,
                Step::ReadAll => self.read(u64::MAX).await?,
                Step::Sip(length, pause) => {
                    while !self.entry.is_complete() {
                        self.read(length).await?;
                        tokio::time::sleep(pause).await;
                    }
                }
                Step::Reply(reply) => self.reply(reply).await?,
                Step::Write(bytes) => self.wire.write(&bytes).await?,
                Step::Flood(bytes) => loop {
                    self.wire.write(&bytes).await?;
                },
                Step::Drip(pause) => loop {
                    self.wire.write(b".").await?;
                    tokio::time::sleep(pause).await;
                },
                Step::Wait(gate) => gate.wait().await,
                Step::Stall => std::future::pending().await,
                Step::Tunnel => return self.tunnel().await.map(|()| After::Close),
                Step::Close => return self.wire.stream().shutdown().await.map(|()| After::Close),
                Step::Reset => return Ok(After::Reset),
                Step::Begin(_) | Step::Finish(_) | Step::Refuse | Step::GoAway => {
                    unreachable!("{step:?} is a step for HTTP/2")
                }
            }
        }
        self.entry.before(&[]);
        Ok(After::KeepAlive)
    }

    async fn read(&mut self, length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let Some(chunk) = self.wire.chunk(&mut self.body).await? else {
                self.entry.complete(std::mem::take(&mut self.body.trailers));
                break;
            };
            left = left.saturating_sub(chunk.len() as u64);
            self.entry.update(|receipt| receipt.body.push(&chunk));
        }
        Ok(())
    }

    async fn reply(&mut self, reply: Reply) -> io::Result<()> {
        let status = http::StatusCode::from_u16(reply.status).expect("scripts answer with status codes");
        let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, status.canonical_reason().unwrap_or("Other"));
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let (framing, chunks) = match reply.body {
            ReplyBody::Echo => {
                let body = Bytes::from(self.entry.echoed());
                (Framing::Length(body.len() as u64), vec![body])
            }
            ReplyBody::Length(body) => (Framing::Length(body.len() as u64), vec![body]),
            ReplyBody::Chunked(chunks) => (Framing::Chunked, chunks),
            ReplyBody::None => (Framing::None, Vec::new()),
        };
        match framing {
            Framing::Length(length) => head += &format!("Content-Length: {length}\r\n"),
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            _ => {}
        }
        self.wire.write(format!("{head}\r\n").as_bytes()).await?;
        for chunk in chunks {
            match framing {
                Framing::Chunked => {
                    let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
                    self.wire.write(&framed).await?;
                }
                _ => self.wire.write(&chunk).await?,
            }
        }
        if framing == Framing::Chunked {
            let trailers: String = reply.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            self.wire.write(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    async fn tunnel(&mut self) -> io::Result<()> {
        loop {
            match self.wire.piece(u64::MAX).await {
                Ok(bytes) => {
                    self.entry.update(|receipt| receipt.body.push(&bytes));
                    self.wire.write(&bytes).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.entry.complete(Vec::new());
                    return self.wire.stream().shutdown().await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
