use std::sync::{Arc, Mutex};

use tower_refresh::{
    store::{self, MemoryStore},
    testing::store_conformance,
};

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises() {
    store_conformance(|| async { MemoryStore::new() }).await;
}

#[tokio::test]
async fn two_functions_keep_the_promises_of_a_store_that_is_not_shared() {
    store_conformance(|| async {
        let kept = Arc::new(Mutex::new(None));
        let shelf = kept.clone();
        store::from_fn(
            move || {
                let kept = kept.lock().unwrap().clone();
                async { Ok(kept) }
            },
            move |record| {
                *shelf.lock().unwrap() = Some(record);
                async { Ok(()) }
            },
        )
    })
    .await;
}

#[cfg(feature = "encrypted")]
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_store_keeps_the_promises_of_the_store_inside() {
    use tower_refresh::store::{Encrypted, EncryptionKey};

    let key = EncryptionKey::new([7; 32]);
    store_conformance(|| async { Encrypted::new(MemoryStore::new(), "test", key.clone()) }).await;
}

#[cfg(feature = "file")]
mod file {
    use futures::future::{BoxFuture, FutureExt};
    use tower_refresh::{
        BoxError,
        store::{FileStore, Record, SaveOutcome, TokenStore},
        testing::store_conformance,
    };

    use crate::stores::support::Folder;

    /// Two stores on one file, as two processes have them: each call uses the other.
    #[derive(Debug)]
    struct Two {
        stores: [FileStore; 2],
        next: std::sync::atomic::AtomicUsize,
        _folder: Folder,
    }

    impl Two {
        fn any(&self) -> &FileStore {
            let next = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            &self.stores[next % 2]
        }
    }

    impl TokenStore for Two {
        fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
            self.any().load()
        }

        fn save(
            &self,
            record: Record,
            expected: Option<u64>,
        ) -> BoxFuture<'_, Result<SaveOutcome, BoxError>> {
            self.any().save(record, expected)
        }

        fn changed(&self) -> BoxFuture<'_, ()> {
            self.any().changed().boxed()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_keeps_the_promises() {
        let folder = Folder::new();
        let names = std::sync::atomic::AtomicUsize::new(0);
        store_conformance(|| async {
            let name = names.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            FileStore::new(folder.join(&format!("tokens-{name}"))).unwrap()
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_stores_on_one_file_keep_the_promises() {
        store_conformance(|| async {
            let folder = Folder::new();
            let store = || FileStore::new(folder.join("tokens")).unwrap();
            let stores = [store(), store()];
            Two { stores, next: Default::default(), _folder: folder }
        })
        .await;
    }
}
