"""python -m meinheld MODULE:APP"""

import sys

from meinheld._cli import main

if __name__ == "__main__":
    sys.exit(main())
