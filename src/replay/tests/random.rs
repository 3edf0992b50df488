//! Whatever the frames, the cap and the time of the refusal: a replay is the original, or nothing.

use proptest::{collection::vec, prelude::*};

use super::*;

/// A body in frames of random sizes, each byte telling its place.
fn frames() -> impl Strategy<Value = Vec<Seen>> {
    (vec(0..40_usize, 0..12), any::<bool>()).prop_map(|(sizes, with_trailers)| {
        let mut bytes = (0..).map(|n: usize| n as u8);
        let mut frames: Vec<_> = sizes
            .into_iter()
            .map(|size| data(bytes.by_ref().take(size).collect::<Vec<_>>()))
            .collect();
        frames.extend(with_trailers.then(|| Seen::Trailers(trailers())));
        frames
    })
}

/// The payload, and the trailers after it: how it was cut into frames may differ.
fn joined(frames: &[Seen]) -> (Vec<u8>, Vec<Seen>) {
    let mut payload = Vec::new();
    let mut trailers = frames.to_vec();
    trailers.retain(|frame| match frame {
        Seen::Data(data) => {
            payload.extend_from_slice(data);
            false
        }
        _ => true,
    });
    (payload, trailers)
}

/// Reads up to `polls` frames, and then not the end.
fn read_some(body: &mut ReplayBody<Streamed>, polls: usize) -> Vec<Seen> {
    let frames = std::iter::repeat_with(|| poll(body)).take(polls);
    frames.take_while(|frame| *frame != Seen::End).collect()
}

fn read_to_end(body: ReplayBody<Streamed>) -> Vec<Seen> {
    let mut frames = read(body);
    assert_eq!(frames.pop(), Some(Seen::End));
    frames
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // S52: however frames fall, a replay is the original or nothing
    #[test]
    fn a_replay_is_the_original_or_nothing(
        frames in frames(),
        limit in 0..200_usize,
        rounds in vec((0..3_usize, 0..10_usize), 1..4),
    ) {
        let expected = joined(&frames);
        let mut body = ReplayBody::with_limit(streamed(frames), limit);
        let mut had = Vec::new();
        // In each round somebody reads a little for good, then layer after layer sends the rest and
        // is refused on the way.
        for (for_good, polls) in rounds {
            had.extend(read_some(&mut body, for_good));
            let (mut sent, backup) = split(body);
            let mut seen = read_some(&mut sent, polls);
            let backup = backup.into_body();
            prop_assert_eq!(backup.is_some(), joined(&seen).0.len() <= limit);
            match backup {
                Some(backup) => {
                    prop_assert_eq!(poll(&mut sent), superseded());
                    body = backup;
                }
                None => {
                    // It goes on as if there had been no backup.
                    seen.extend(read_to_end(sent));
                    had.extend(seen);
                    prop_assert_eq!(joined(&had), expected);
                    return Ok(());
                }
            }
        }
        had.extend(read_to_end(body));
        prop_assert_eq!(joined(&had), expected);
    }
}
