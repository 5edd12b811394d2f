package intake

// The type of each. A switch over all of them is one screen.

func (*OfferedV1) EventType() Type          { return "contact.offered.v1" }
func (*WaitingV1) EventType() Type          { return "contact.waiting.v1" }
func (*SaidV1) EventType() Type             { return "contact.said.v1" }
func (*ChoseV1) EventType() Type            { return "contact.chose.v1" }
func (*RangV1) EventType() Type             { return "contact.rang.v1" }
func (*UnrangV1) EventType() Type           { return "contact.unrang.v1" }
func (*AnsweredV1) EventType() Type         { return "contact.answered.v1" }
func (*HeldV1) EventType() Type             { return "contact.held.v1" }
func (*ResumedV1) EventType() Type          { return "contact.resumed.v1" }
func (*MovedV1) EventType() Type            { return "contact.moved.v1" }
func (*SilentV1) EventType() Type           { return "contact.silent.v1" }
func (*MessageV1) EventType() Type          { return "contact.message.v1" }
func (*IdentifiedV1) EventType() Type       { return "contact.identified.v1" }
func (*RecordedV1) EventType() Type         { return "contact.recorded.v1" }
func (*EndedV1) EventType() Type            { return "contact.ended.v1" }
func (*ErasedV1) EventType() Type           { return "contact.erased.v1" }
func (*CallbackBornV1) EventType() Type     { return "callback.born.v1" }
func (*CallbackJoinedV1) EventType() Type   { return "callback.joined.v1" }
func (*CallbackTakenV1) EventType() Type    { return "callback.taken.v1" }
func (*CallbackReleasedV1) EventType() Type { return "callback.released.v1" }
func (*CallbackTriedV1) EventType() Type    { return "callback.tried.v1" }
func (*CallbackClearedV1) EventType() Type  { return "callback.cleared.v1" }
func (*CallbackVisitV1) EventType() Type    { return "callback.visit.v1" }
func (*CaseOpenedV1) EventType() Type       { return "case.opened.v1" }
func (*CaseAttachedV1) EventType() Type     { return "case.attached.v1" }
func (*CaseRoutedV1) EventType() Type       { return "case.routed.v1" }
func (*CaseAcceptedV1) EventType() Type     { return "case.accepted.v1" }
func (*CaseDispatchedV1) EventType() Type   { return "case.dispatched.v1" }
func (*CaseStartedV1) EventType() Type      { return "case.started.v1" }
func (*CaseReturnedV1) EventType() Type     { return "case.returned.v1" }
func (*CaseExtendedV1) EventType() Type     { return "case.extended.v1" }
func (*CaseAnsweredV1) EventType() Type     { return "case.answered.v1" }
func (*CaseClosedV1) EventType() Type       { return "case.closed.v1" }
func (*CaseReopenedV1) EventType() Type     { return "case.reopened.v1" }
func (*CaseNotedV1) EventType() Type        { return "case.noted.v1" }
func (*OperatorStateV1) EventType() Type    { return "operator.state.v1" }
func (*OperatorSignedV1) EventType() Type   { return "operator.signed.v1" }
func (*LineChangedV1) EventType() Type      { return "line.changed.v1" }
func (*LineTestedV1) EventType() Type       { return "line.tested.v1" }
func (*GridImportedV1) EventType() Type     { return "grid.imported.v1" }
func (*PersonRevealedV1) EventType() Type   { return "person.revealed.v1" }
func (*RecordingPlayedV1) EventType() Type  { return "recording.played.v1" }
func (*ListExportedV1) EventType() Type     { return "list.exported.v1" }
func (*AccountSignedV1) EventType() Type    { return "account.signed.v1" }
func (*AccountChangedV1) EventType() Type   { return "account.changed.v1" }
func (*NodeStartedV1) EventType() Type      { return "node.started.v1" }
func (*NodeDegradedV1) EventType() Type     { return "node.degraded.v1" }
func (*NodeRecoveredV1) EventType() Type    { return "node.recovered.v1" }

// catalogue makes one of each, empty.
var catalogue = []func() Data{
	func() Data { return new(OfferedV1) },
	func() Data { return new(WaitingV1) },
	func() Data { return new(SaidV1) },
	func() Data { return new(ChoseV1) },
	func() Data { return new(RangV1) },
	func() Data { return new(UnrangV1) },
	func() Data { return new(AnsweredV1) },
	func() Data { return new(HeldV1) },
	func() Data { return new(ResumedV1) },
	func() Data { return new(MovedV1) },
	func() Data { return new(SilentV1) },
	func() Data { return new(MessageV1) },
	func() Data { return new(IdentifiedV1) },
	func() Data { return new(RecordedV1) },
	func() Data { return new(EndedV1) },
	func() Data { return new(ErasedV1) },
	func() Data { return new(CallbackBornV1) },
	func() Data { return new(CallbackJoinedV1) },
	func() Data { return new(CallbackTakenV1) },
	func() Data { return new(CallbackReleasedV1) },
	func() Data { return new(CallbackTriedV1) },
	func() Data { return new(CallbackClearedV1) },
	func() Data { return new(CallbackVisitV1) },
	func() Data { return new(CaseOpenedV1) },
	func() Data { return new(CaseAttachedV1) },
	func() Data { return new(CaseRoutedV1) },
	func() Data { return new(CaseAcceptedV1) },
	func() Data { return new(CaseDispatchedV1) },
	func() Data { return new(CaseStartedV1) },
	func() Data { return new(CaseReturnedV1) },
	func() Data { return new(CaseExtendedV1) },
	func() Data { return new(CaseAnsweredV1) },
	func() Data { return new(CaseClosedV1) },
	func() Data { return new(CaseReopenedV1) },
	func() Data { return new(CaseNotedV1) },
	func() Data { return new(OperatorStateV1) },
	func() Data { return new(OperatorSignedV1) },
	func() Data { return new(LineChangedV1) },
	func() Data { return new(LineTestedV1) },
	func() Data { return new(GridImportedV1) },
	func() Data { return new(PersonRevealedV1) },
	func() Data { return new(RecordingPlayedV1) },
	func() Data { return new(ListExportedV1) },
	func() Data { return new(AccountSignedV1) },
	func() Data { return new(AccountChangedV1) },
	func() Data { return new(NodeStartedV1) },
	func() Data { return new(NodeDegradedV1) },
	func() Data { return new(NodeRecoveredV1) },
}
