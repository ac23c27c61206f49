! Models of the database run in the solver's own process, by libtorch: beside the module penstock.
!
!   use penstock
!   use penstock_torch
!   type(penstock_local_model) :: closure
!   call closure%open(client, "closure", wait=60.0_real64)
!   do while (.not. client%stop_requested())
!     call closure%run(u, stress)
!   end do
!   call closure%close()
!
! Arrays, their order and errors are as in the module penstock; penstock_torch.h says how the live version is
! followed. A model is used by one thread at a time, is not to be copied, and is closed before its client.

module penstock_torch
  use, intrinsic :: iso_c_binding, only: c_associated, c_char, c_double, c_funloc, c_funptr, c_int, &
    c_int64_t, c_null_char, c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use penstock, only: penstock_client, penstock_not_connected, penstock_ok
  use penstock_c, only: fortran_text, give, is_refused, psf_error, psf_fields_add, psf_fields_new, psf_run_by
  implicit none
  private

  type, public :: penstock_local_model
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: open => open_model, close => close_model, run, refresh, version
  end type

  interface
    function penstock_local_open(client, name, follow_every, wait, model) bind(c) result(status)
      import :: c_char, c_double, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), value :: follow_every, wait
      type(c_ptr), intent(out) :: model
      integer(c_int) :: status
    end function

    subroutine penstock_local_close(model) bind(c)
      import :: c_ptr
      type(c_ptr), value :: model
    end subroutine

    ! Called by psf_run_by alone, which has the arrays.
    function penstock_local_run(model, inputs, n_inputs, outputs, n_outputs) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: model, inputs, outputs
      integer(c_int), value :: n_inputs, n_outputs
      integer(c_int) :: status
    end function

    function penstock_local_refresh(model) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: model
      integer(c_int) :: status
    end function

    function penstock_local_version(model) bind(c) result(version)
      import :: c_int64_t, c_ptr
      type(c_ptr), value :: model
      integer(c_int64_t) :: version
    end function

    function penstock_local_error(model) bind(c) result(text)
      import :: c_ptr
      type(c_ptr), value :: model
      type(c_ptr) :: text
    end function
  end interface

contains

  ! Load the version that is live. follow_every: s that a run may take for granted what is live, 1 by default;
  ! wait: s to wait for a first version, none by default.
  subroutine open_model(self, client, name, follow_every, wait, stat, errmsg)
    class(penstock_local_model), intent(inout) :: self
    type(penstock_client), intent(in) :: client
    character(len=*), intent(in) :: name
    real(real64), intent(in), optional :: follow_every, wait
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    real(c_double) :: follow, patience
    integer(c_int) :: status
    call self%close()
    if (.not. client%is_connected()) then
      call give(penstock_not_connected, "the client is not connected: call connect", stat, errmsg)
      return
    end if
    follow = 1
    if (present(follow_every)) follow = follow_every
    patience = 0
    if (present(wait)) patience = wait
    status = penstock_local_open(client%c_handle(), trim(name) // c_null_char, follow, patience, self%handle)
    call settle(status, c_null_ptr, stat, errmsg)
  end subroutine

  ! Harmless where no model is open.
  subroutine close_model(self)
    class(penstock_local_model), intent(inout) :: self
    call penstock_local_close(self%handle)
    self%handle = c_null_ptr
  end subroutine

  ! Run it. Outputs have the type and shape that the model puts out; reversed is as in penstock's infer.
  subroutine run(self, input, output, input2, input3, input4, output2, output3, output4, reversed, stat, errmsg)
    class(penstock_local_model), intent(in) :: self
    type(*), dimension(..), intent(in) :: input
    type(*), dimension(..), intent(inout) :: output
    type(*), dimension(..), intent(in), optional :: input2, input3, input4
    type(*), dimension(..), intent(inout), optional :: output2, output3, output4
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(c_ptr) :: inputs, outputs
    integer(c_int) :: status, by_memory, refused
    if (is_refused("input", input, stat)) return
    if (is_refused("input2", input2, stat)) return
    if (is_refused("input3", input3, stat)) return
    if (is_refused("input4", input4, stat)) return
    if (is_refused("output", output, stat)) return
    if (is_refused("output2", output2, stat)) return
    if (is_refused("output3", output3, stat)) return
    if (is_refused("output4", output4, stat)) return
    if (closed(self, stat, errmsg)) return
    by_memory = 0
    if (present(reversed)) by_memory = merge(1_c_int, 0_c_int, reversed)
    inputs = psf_fields_new()
    call psf_fields_add(inputs, "input" // c_null_char, input, by_memory)
    if (present(input2)) call psf_fields_add(inputs, "input2" // c_null_char, input2, by_memory)
    if (present(input3)) call psf_fields_add(inputs, "input3" // c_null_char, input3, by_memory)
    if (present(input4)) call psf_fields_add(inputs, "input4" // c_null_char, input4, by_memory)
    outputs = psf_fields_new()
    call psf_fields_add(outputs, "output" // c_null_char, output, by_memory)
    if (present(output2)) call psf_fields_add(outputs, "output2" // c_null_char, output2, by_memory)
    if (present(output3)) call psf_fields_add(outputs, "output3" // c_null_char, output3, by_memory)
    if (present(output4)) call psf_fields_add(outputs, "output4" // c_null_char, output4, by_memory)
    status = psf_run_by(c_funloc(penstock_local_run), self%handle, inputs, outputs, refused)
    if (refused /= 0) then
      call give(int(status), fortran_text(psf_error(c_null_ptr)), stat, errmsg)
    else
      call settle(status, self%handle, stat, errmsg)
    end if
  end subroutine

  ! Look now which version is live, and load it where it is another.
  subroutine refresh(self, stat, errmsg)
    class(penstock_local_model), intent(in) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(penstock_local_refresh(self%handle), self%handle, stat, errmsg)
  end subroutine

  ! The version that answers, 0 where no model is open.
  function version(self) result(number)
    class(penstock_local_model), intent(in) :: self
    integer :: number
    number = 0
    if (c_associated(self%handle)) number = int(penstock_local_version(self%handle))
  end function

  ! ---- Within

  function closed(self, stat, errmsg)
    class(penstock_local_model), intent(in) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: closed
    closed = .not. c_associated(self%handle)
    if (closed) call give(penstock_not_connected, "the model is not open: call open", stat, errmsg)
  end function

  subroutine settle(status, model, stat, errmsg)
    integer(c_int), intent(in) :: status
    type(c_ptr), intent(in) :: model
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (status /= penstock_ok) then
      call give(int(status), fortran_text(penstock_local_error(model)), stat, errmsg)
    else if (present(stat)) then
      stat = penstock_ok
    end if
  end subroutine
end module
