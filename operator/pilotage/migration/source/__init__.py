"""Where rows come from: files of every format, dumps, live databases, all brought to lines that workers share."""
