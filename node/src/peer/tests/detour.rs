//! A link between two nodes is down, and both reach a third.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_cannot_go_straight_goes_through_a_third_node_once() {
    let one = Dialling::new();
    let (_two, _) = one.router(TWO).await;
    // To node 1, node 3 is where nobody listens.
    let astray = SocketAddr::from(([10, 9, 9, 9], 7_100));
    let members = view(ONE, &[(TWO, 1), (THREE, 1)]);
    let mut parts: Vec<Member> = members.members().to_vec();
    parts.iter_mut().filter(|member| member.id == THREE).for_each(|member| member.peer = astray);
    let seen = View::new(Parts {
        me: ONE,
        members: parts,
        expect: Expect::Itself,
        foundation: None,
        splits: Arc::default(),
        fault: None,
    });
    let key = (0..).find(|key| seen.cell_owner(*key) == Some(THREE)).unwrap();
    let (clock, metrics) = (Arc::clone(&one.clock) as Arc<dyn Clock>, Arc::new(Metrics::default()));
    let membership = Membership::fixed(seen);
    let router = NodeRouter::new(membership, Arc::clone(&one.pool), clock, Arc::clone(&metrics));
    let ask = async |route| {
        let envelope = Envelope::seal(route, Subject::Anonymous, 1, 1_000, Bytes::from("x"));
        router.serve(envelope.unwrap()).await
    };
    let nobody = ask(Route::Cell(key)).await.result.unwrap_err();
    assert_eq!((nobody.code, nobody.owner), (Code::Retry, Some(THREE)), "node 2 reaches nobody");

    one.listen(THREE, Arc::new(Echo)).await;
    let answer = timeout(LONG, async {
        loop {
            let reply = ask(Route::Cell(key)).await;
            match reply.result {
                Ok(_) => return reply,
                Err(_) => sleep(AT_ONCE).await, // node 2 dials again
            }
        }
    });
    let answer = answer.await.expect("the way around");
    assert_eq!(answer.hops, 2);
    assert!(metrics.text().contains("hansom_detours_total 1"), "{}", metrics.text());

    // What is for one node alone never goes through another.
    let alone = ask(Route::Node(THREE)).await.result.unwrap_err();
    assert_eq!(alone.code, Code::BadPeer);
}
