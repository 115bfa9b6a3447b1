"""python -m tests.simulation --histories N --seed S"""
import os
os.environ.setdefault("POLARS_MAX_THREADS","1")
import sys,time,logging,traceback
import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
from tests.simulation.world import *
n=int(sys.argv[1]);seed=int(sys.argv[2])
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
with installed():
    t=time.process_time();st=0
    bad=0
    for s in range(seed,seed+n):
        w=World(History.of(s)); 
        from tests.simulation import world as W
        W._PRESENT.append(w)
        try:
            w.play()
        except BaseException as e:
            bad+=1
            print(s,type(e).__name__,str(e)[:300], "vt",w.scheduler.now_us//1000)
            if n==1: 
                traceback.print_exc(); print(w.history.in_words())
        st+=w.scheduler.steps
        W._PRESENT.pop()
    d=time.process_time()-t
    print(n,"histories",bad,"bad",d/n*1000,"ms CPU each", st/n,"steps")
