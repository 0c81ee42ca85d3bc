package stream

// other reads a member that the API does not define. Some servers report errors under names of their own, in a 200 reply or
// as an event: MiniMax {"base_resp": {"status_code": 1004, "status_msg": "..."}}, Baidu {"error_code": 110, "error_msg":
// "..."}, DashScope {"code": "InvalidParameter", "message": "..."}, SiliconFlow {"code": 20012, "message": "..."}. All else
// is skipped.
func (s *scanner) other(in *place, key []byte, f *facts) {
	switch string(key) {
	case "base_resp":
		s.baseResponse(f)
	case "code", "error_code", "errcode":
		if raw, quoted := s.value(); !quoted && len(raw) > 0 && raw[0] == '{' || meansSuccess(raw) {
			return
		}
		f.faulty = true
	case "success":
		if s.peek() == 'f' {
			f.faulty = true
		}
		s.skip()
	case "msg", "error_msg", "errmsg":
		if raw, ok := s.text(); ok && f.message == nil {
			f.message, f.quoted = raw, true
		}
		s.blanks.off = true
	default:
		s.pass(in, key)
	}
}

func (s *scanner) baseResponse(f *facts) {
	var message []byte
	failed := false
	for key := range s.members {
		switch string(key) {
		case "status_code":
			raw, _ := s.value()
			failed = !meansSuccess(raw)
		case "status_msg":
			message, _ = s.text()
		default:
			s.skip()
		}
	}
	if failed {
		f.failed = true
		f.message, f.quoted = message, true
		s.blanks.off = true
	}
}

func meansSuccess(code []byte) bool {
	switch string(code) {
	case "", "null", "false", "0", "200", "ok", "OK", "success", "Success", "SUCCESS":
		return true
	}
	return false
}

// vendorFailure decides whether an object with a code of failure is an error: one that holds none of what the API
// defines. Its message, else all of it, is the error's.
func (s *scanner) vendorFailure(f *facts) {
	if !f.faulty || f.failed || f.shape != shapeUnknown || s.bad {
		return
	}
	f.failed = true
	s.blanks.off = true
	if len(f.message) == 0 {
		f.message, f.quoted = s.b, false
	}
}
