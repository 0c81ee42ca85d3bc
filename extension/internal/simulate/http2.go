package simulate


func (s *Server) serveHTTP2(*secureSocket) {}
func (c *conn) expectTransmit(*record)     {}
