use ledger::*;
use proto::machine::*; use proto::units::*; use proto::*;
use std::collections::BTreeMap; use std::sync::Arc; use std::time::*;
#[derive(Default)] struct M(BTreeMap<Vec<u8>,Vec<u8>>);
impl StateMachine for M {
 fn apply(&mut self,_:WallMs,c:&[u8])->Applied{ let k=c[..8].to_vec(); self.0.insert(k.clone(),c[8..].to_vec()); Applied{outcome:vec![],changed:vec![k.clone()],events:vec![k]}}
 fn read(&self,k:&[u8])->Option<Vec<u8>>{self.0.get(k).cloned()}
 fn restore(&mut self,k:&[u8],v:&[u8])->Result<(),codec::CodecError>{self.0.insert(k.into(),v.into());Ok(())}
 fn scan(&self,_:Option<&[u8]>,_:usize)->Vec<(Vec<u8>,Vec<u8>)>{vec![]}
 fn open_work(&self)->Vec<Vec<u8>>{vec![]}
}
#[derive(Debug)] struct C; impl Clock for C { fn mono(&self)->MonoMs{MonoMs(0)} fn wall(&self)->WallMs{WallMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)}}
fn open(d:&std::path::Path)->Arc<Local>{ let t=Instant::now();
 let s=SledStore::open(d,&Identity{cluster:"b".into(),node:NodeId(1)}).unwrap(); let a=t.elapsed();
 let l=Local::open(Settings::new(NodeId(1),(1..=64).map(GroupId).collect()),s,Arc::new(C),|_|None,|_|Box::new(M::default())).unwrap();
 println!("open: sled {a:?}, all {:?}",t.elapsed()); Arc::new(l)}
#[tokio::main] async fn main(){
 let d=tempfile::tempdir_in(std::env::args().nth(1).unwrap()).unwrap();
 let l=open(d.path());
 for n in [1usize,8,64,512]{ let t=Instant::now(); let mut js=tokio::task::JoinSet::new();
  for w in 0..n { let l=Arc::clone(&l); js.spawn(async move{ let mut lat=vec![]; let mut i=0u64;
   while t.elapsed()<Duration::from_secs(5){ i+=1; let mut c=((w as u64*7919+i*104729)%100_000).to_be_bytes().to_vec(); c.extend([(i%251) as u8;300]);
    let a=Instant::now(); l.propose(GroupId(1+((w as u64+i)%64) as u16),c).await.unwrap(); lat.push(a.elapsed()); } lat});}
  let mut lat:Vec<_>=js.join_all().await.into_iter().flatten().collect(); lat.sort();
  println!("{n:4} in flight: {:7.0}/s p50 {:?} p99 {:?} max {:?}",lat.len() as f64/t.elapsed().as_secs_f64(),lat[lat.len()/2],lat[lat.len()*99/100],lat[lat.len()-1]);
 }
 let t=Instant::now(); let mut n=0; for g in 1..=64 { let mut c=Cursor::default(); loop { let e=l.events(GroupId(g),c,1000).await.unwrap(); let Some(x)=e.last() else{break}; c=x.cursor; n+=e.len(); }}
 println!("{n} events read in {:?}",t.elapsed());
 l.stop().await; drop(l);
 std::process::Command::new("du").arg("-sh").arg(d.path()).status().unwrap();
 let _=std::process::Command::new("grep").args(["VmRSS","/proc/self/status"]).status();
 let l=open(d.path()); l.stop().await;
}
