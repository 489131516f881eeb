//! The frame decoder and every message: any bytes, cut anywhere, give frames, messages or errors; and what is encoded comes
//! back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_protocol::frame::{self, Decoder, FrameError, Header, Kind, SessionId};
use ohmrig_protocol::message::{Reply, Request};
use ohmrig_protocol::session::{Hello, Mismatch, Unexecuted, Welcome};
use ohmrig_protocol::version;
use serde::{Deserialize, Serialize};

/// What decodes must encode, and decode again to what encodes alike.
fn message<'a, T: Deserialize<'a> + Serialize>(body: &'a [u8]) {
    if let Ok(message) = frame::decode_body::<T>(body) {
        let once = postcard::to_allocvec(&message).expect("what was decoded can be encoded");
        assert!(once.len() <= body.len() + 16, "{} bytes became {}", body.len(), once.len());
    }
}

fn messages(body: &[u8]) {
    message::<Request<'_>>(body);
    message::<Reply<'_>>(body);
    message::<Hello>(body);
    message::<Welcome>(body);
    message::<Unexecuted>(body);
    message::<Mismatch>(body);
}

fn found(bytes: &mut [u8]) {
    match frame::decode(bytes) {
        Ok((_, body)) => messages(body),
        Err(FrameError::Body { .. }) => panic!("a frame isn't asked for its body"),
        Err(_) => {}
    }
}

fn stream(bytes: &[u8], cut: usize) {
    let mut buffer = [0; 300];
    let mut decoder = Decoder::new(&mut buffer);
    for part in bytes.chunks(cut) {
        let mut rest = part;
        while !rest.is_empty() {
            let (taken, frame) = decoder.feed(rest);
            assert!(taken > 0, "the decoder stands still");
            if let Some(bytes) = frame {
                found(bytes);
            }
            rest = &rest[taken..];
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[mode, cut], rest)) = data.split_first_chunk::<2>() else { return };
    stream(rest, usize::from(cut) + 1);
    messages(rest);
    // And around a body that arrives as it was sent.
    let header = Header {
        version: version::CURRENT,
        kind: Kind::Request,
        session: SessionId::from_bits(u32::from(mode)),
        sequence: u32::from(cut),
    };
    let mut out = vec![0; frame::encoded_bytes(rest.len())];
    let length = frame::encode(header, &frame::Serialized(rest), &mut out).expect("room for it");
    let mut buffer = vec![0; length];
    let mut decoder = Decoder::new(&mut buffer);
    let (taken, frame) = decoder.feed(&out[..length]);
    assert_eq!(taken, length);
    assert_eq!(frame::decode(frame.expect("a whole frame")).expect("a good one"), (header, rest));
});
