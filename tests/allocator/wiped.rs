//! What a store leaves behind in memory: no token.

use std::{fs, sync::atomic::Ordering::SeqCst};

use tower_refresh::{
    Tokens,
    store::{Encrypted, EncryptionKey, FileStore, Record, SaveOutcome, TokenStore},
};

use crate::{FOUND, LOOKS, TURN};

/// How often memory with a secret in it was given back during `work`.
async fn left_by<T>(work: impl Future<Output = T>) -> (T, usize) {
    FOUND.store(0, SeqCst);
    LOOKS.store(true, SeqCst);
    let result = work.await;
    LOOKS.store(false, SeqCst);
    (result, FOUND.load(SeqCst))
}

/// Tokens that are as long as JWTs are, so that what holds them has to grow.
fn record() -> Record {
    let tokens = Tokens::new(format!("s3cret-{}", "a".repeat(1500))).unwrap();
    Record::from(tokens.with_refresh_token(format!("s3cret-{}", "r".repeat(500))).unwrap())
}

/// Saves and loads.
async fn leaves_nothing(store: &impl TokenStore) {
    let record = record();
    let (saved, left) = left_by(store.save(record, None)).await;
    assert_eq!((saved.unwrap(), left), (SaveOutcome::Stored, 0), "saving");
    let (loaded, left) = left_by(async { store.load().await.map(drop) }).await;
    loaded.unwrap();
    assert_eq!(left, 0, "loading");
}

#[tokio::test]
async fn a_store_wipes_what_it_wrote_and_read() {
    let _turn = TURN.lock().await;
    let (_, found) = left_by(async { drop(b"s3cret".to_vec()) }).await;
    assert_eq!(found, 1, "it would be found");

    let folder = tempfile::tempdir().unwrap();
    let file = |name| FileStore::new(folder.path().join(name)).unwrap();
    let plain = file("plain");
    leaves_nothing(&plain).await;
    let key = EncryptionKey::new([7; 32]);
    leaves_nothing(&Encrypted::new(file("sealed"), "billing", key)).await;

    // Of a file that is cut off both tokens are read before that shows.
    let whole = fs::read(plain.path()).unwrap();
    fs::write(plain.path(), &whole[..whole.len() - 1]).unwrap();
    let (loaded, left) = left_by(plain.load()).await;
    assert!(loaded.unwrap_err().to_string().contains("cut off"));
    assert_eq!(left, 0, "reading half of it");
}

#[tokio::test]
async fn a_key_leaves_nothing_of_the_text_that_it_was_read_from() {
    let _turn = TURN.lock().await;
    let bytes = *b"s3crets3crets3crets3cret<<<???>>";
    let id = EncryptionKey::new(bytes).id();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [
        hex.as_str(),
        "czNjcmV0czNjcmV0czNjcmV0czNjcmV0PDw8Pz8/Pj4=",
        "czNjcmV0czNjcmV0czNjcmV0czNjcmV0PDw8Pz8_Pj4",
    ] {
        let (key, left) = left_by(async { text.parse::<EncryptionKey>() }).await;
        assert_eq!((key.unwrap().id(), left), (id.clone(), 0), "{text}");
    }
}
