"""``python -m NNMambaLib.worker``: started by `WorkerClient`, of no use by hand."""

from NNMambaLib.worker.process import main

if __name__ == "__main__":
    main()
